"""`CalibrationText`: what passes through a model while its codes are found, cut into short sequences.

Short, because what enters a linear is much alike anywhere in a text, and attention costs its square.
Domains take turns, so that the first few thousand tokens hold a little of each. Never a text that anything
is judged on. Not about what is measured (`activations`, `moments`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import UsageError
from exporter.reference.domains import (
    Domain,
    holds_conversations,
    read_conversations,
    read_domain,
    read_domains,
    read_plain_text,
)
from exporter.reference.overlap import first_shared
from exporter.reference.texts import Texts
from exporter.resources import data_directory

SEQUENCE = 256  # tokens, the beginning-of-text token first
JUDGED_ON = ("evaluation", "languages")  # of samples/
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")  # how JSON and programs spell a letter


@dataclass(frozen=True)
class CalibrationText:
    """sequences: [count, length] int32, each beginning with the beginning-of-text token. names: of the
    domains they are from."""

    sequences: NDArray[np.int32]
    names: tuple[str, ...]

    @property
    def tokens(self) -> int:
        return self.sequences.size

    @property
    def sha256(self) -> str:
        """Of the tokens as little-endian int32."""
        return hashlib.sha256(self.sequences.astype("<i4").tobytes()).hexdigest()

    def first(self, tokens: int) -> CalibrationText:
        """The first sequences that hold this many tokens.

        Raises UsageError where there are not so many.
        """
        count = -(-tokens // self.sequences.shape[1])
        if count > len(self.sequences):
            raise UsageError(
                f"calibration text ({', '.join(self.names)})",
                f"has {self.tokens} tokens in whole sequences of {self.sequences.shape[1]}, and the recipe "
                f"wants {tokens}",
                "add text, or leave --calibration out for the text that ships",
            )
        return CalibrationText(self.sequences[:count], self.names)

    def batches(self, size: int) -> tuple[NDArray[np.int32], ...]:
        """[size, length] each, the last of what is left."""
        return tuple(self.sequences[at : at + size] for at in range(0, len(self.sequences), size))


def calibration_text(source: CheckpointSource, texts: Texts, files: Sequence[Path] = ()) -> CalibrationText:
    """What ships in `samples/calibration`, or a user's own files, in a checkpoint's tokens.

    Raises UsageError for a file that is no text or holds text that releases are judged on, TokenizerError
    for a token without a row.
    """
    if not files:
        return _cut(read_domains(data_directory("samples") / "calibration", source, texts), source)
    require_unseen(files)
    return _cut([read_domain(file, source, texts) for file in files], source)


def _cut(domains: Sequence[Domain], source: CheckpointSource) -> CalibrationText:
    length = min(SEQUENCE, source.components["text"].spec.context_length)
    by_domain = [_sequences(domain.text.tokens, length) for domain in domains]
    turns = [each for turn in zip_longest(*by_domain) for each in turn if each is not None]
    sequences = np.stack(turns) if turns else np.empty((0, length), np.int32)
    return CalibrationText(sequences, tuple(domain.name for domain in domains))


def _sequences(tokens: NDArray[np.int32], length: int) -> list[NDArray[np.int32]]:
    """Whole ones, the token that begins the text before each."""
    begin, rest = tokens[:1], tokens[1:]
    whole = range(0, len(rest) - length + 2, length - 1)
    return [np.concatenate([begin, rest[at : at + length - 1]]) for at in whole]


def require_unseen(files: Iterable[Path]) -> None:
    """Raise UsageError for a file that is no text, or holds text that releases are judged on."""
    for file in files:
        _require_unseen(file)


def _require_unseen(file: Path) -> None:
    judged = [
        path
        for name in JUDGED_ON
        for pattern in ("*.txt", "*.json")
        for path in sorted((data_directory("samples") / name).glob(pattern))
    ]
    found = first_shared(_words(file), {path: _words(path) for path in judged})
    if found is not None:
        path, passage = found
        raise UsageError(
            file,
            f"holds text that releases are judged on ({path.parent.name}/{path.name}: {passage!r})",
            "take it out: figures on text that codes were fitted to say nothing",
        )


def _words(file: Path) -> str:
    """What a file says, however it spells its letters: of conversations the messages. Raises UsageError."""
    if holds_conversations(file):
        return "\n".join(content for turns in read_conversations(file) for _, content in turns)
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), read_plain_text(file))
