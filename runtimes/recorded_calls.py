"""`recorded_calls.json`: what each artifact of a release answered when it was made, and what it may stray.

So whoever has a runtime and no checkpoint can still check that a release computes here what it computed
where it was judged. As strict as the manifest, whose artifacts it speaks of. Not about making the calls
again (`runtimes.replaying`), nor about who chose them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runtimes.errors import RecordedCallsError
from runtimes.excerpt import excerpt
from runtimes.manifest import Artifact, Manifest
from runtimes.records import RecordError, from_plain, to_plain
from runtimes.strict_json import StrictJsonError, read_json_object

RECORD_NAME = "recorded_calls.json"
SCHEMA_VERSION = 1
LARGEST_RECORD = 16 << 20  # bytes; a release of three artifacts has some 60 KB
SLACK = 1e-3  # nats; what rounding may do to a logit, and more

CallKind = Literal["prefill", "decode"]


@dataclass(frozen=True)
class ReplayTolerances:
    """Limits on the KL divergence, in nats, over (listed tokens, all others together) of a position."""

    mean_kl: float
    max_kl: float


@dataclass(frozen=True)
class ExpectedLogits:
    """What came back at one position of a call. tokens, logits: the largest, in falling order. others: the
    logarithm of the sum of e^x over all other logits, their mass on the same scale: 1 less the listed
    probabilities would be nothing but rounding where those are nearly all."""

    position: int
    tokens: tuple[int, ...]
    logits: tuple[float, ...]
    others: float


@dataclass(frozen=True)
class RecordedCall:
    """Tokens appended to the cache. expected: of some positions, of none where the call returns none."""

    call: CallKind
    tokens: tuple[int, ...]
    expected: tuple[ExpectedLogits, ...]


@dataclass(frozen=True)
class RecordedArtifact:
    """artifact: its path in the manifest. recorded_by: runtime, version and arithmetic, in words. calls:
    from an empty cache, in order."""

    artifact: str
    recorded_by: str
    tolerances: ReplayTolerances
    calls: tuple[RecordedCall, ...]

    @property
    def token_count(self) -> int:
        return sum(len(call.tokens) for call in self.calls)


@dataclass(frozen=True)
class RecordedText:
    """A text and its tokens, by the checkpoint's tokenizer and without any of its own around them."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class RecordedCalls:
    """The whole file. An artifact that could not be run has no calls in it."""

    schema_version: int
    texts: tuple[RecordedText, ...]
    artifacts: tuple[RecordedArtifact, ...]

    def to_json(self) -> str:
        """One line an artifact's call: a diff shows which."""
        plain = to_plain(self)
        return _lines(plain) + "\n"

    def of(self, artifact: Artifact) -> RecordedArtifact | None:
        return next((each for each in self.artifacts if each.artifact == artifact.path), None)


def read_recorded_calls(release: Path, manifest: Manifest) -> RecordedCalls | None:
    """Read and check a release's record; None for a release that has none.

    Raises RecordedCallsError naming the file and the key.
    """
    path = release / RECORD_NAME
    if path.is_symlink():
        raise RecordedCallsError(f"{path}: is a link; put the release's own file there")
    try:
        raw = read_json_object(path, LARGEST_RECORD)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordedCallsError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    except StrictJsonError as error:
        raise RecordedCallsError(
            f"{path}: cannot be read as JSON ({error}); copy the release again"
        ) from error
    if (version := raw.get("schema_version")) != SCHEMA_VERSION:
        raise RecordedCallsError(
            f"{path}: schema_version is {excerpt(version)} and this version reads {SCHEMA_VERSION}; "
            "use the gemma-export that wrote it"
        )
    try:
        record = from_plain(RecordedCalls, raw)
        _check(record, manifest)
    except RecordError as error:
        raise RecordedCallsError(f"{path}: {error}; copy the release again") from error
    return record


def _check(record: RecordedCalls, manifest: Manifest) -> None:
    """Values that have the right type and cannot be, or are not about this release."""
    known = {artifact.path: artifact for artifact in manifest.artifacts}
    for i, text in enumerate(record.texts):
        if min(text.tokens, default=0) < 0:
            raise RecordError(f"$.texts[{i}].tokens", "holds a token below 0")
    for i, recorded in enumerate(record.artifacts):
        at = f"$.artifacts[{i}]"
        if (artifact := known.pop(recorded.artifact, None)) is None:
            what = "is no artifact of the manifest, or is there twice"
            raise RecordError(f"{at}.artifact", f"{excerpt(recorded.artifact)} {what}")
        for name in ("mean_kl", "max_kl"):
            limit = getattr(recorded.tolerances, name)
            if not (math.isfinite(limit) and limit > 0):
                raise RecordError(f"{at}.tolerances.{name}", f"expected a number above 0, got {limit}")
        if recorded.token_count > artifact.context:
            held = f"hold {recorded.token_count} tokens, and the context {artifact.context}"
            raise RecordError(f"{at}.calls", held)
        if not any(call.expected for call in recorded.calls):
            raise RecordError(f"{at}.calls", "expect no logits, so nothing could be compared")
        for at_call, call in enumerate(recorded.calls):
            _check_call(f"{at}.calls[{at_call}]", call, artifact.vocab_size)


def _check_call(at: str, call: RecordedCall, vocab_size: int) -> None:
    if not call.tokens or (call.call == "decode" and len(call.tokens) > 1):
        raise RecordError(f"{at}.tokens", f"a {call.call} has {len(call.tokens)} tokens")
    _require_tokens(f"{at}.tokens", call.tokens, vocab_size)
    for i, expected in enumerate(call.expected):
        here = f"{at}.expected[{i}]"
        if not 0 <= expected.position < len(call.tokens):
            raise RecordError(f"{here}.position", f"{expected.position} is no position of the call")
        _require_tokens(f"{here}.tokens", expected.tokens, vocab_size)
        count = len(expected.tokens)
        if not count or count != len(set(expected.tokens)) or count != len(expected.logits):
            raise RecordError(here, "a logit for each of one or more different tokens is expected")
        if not all(map(math.isfinite, (expected.others, *expected.logits))):
            raise RecordError(here, "holds a number that is not finite")
        # None of the others is larger than the least that is listed.
        most = min(expected.logits) + math.log(max(1, vocab_size - count))
        if expected.others > most + SLACK:
            raise RecordError(f"{here}.others", "is more than logits can have that are not listed")


def _require_tokens(at: str, tokens: tuple[int, ...], vocab_size: int) -> None:
    if min(tokens, default=0) < 0 or max(tokens, default=0) >= vocab_size:
        raise RecordError(at, f"holds a token outside the vocabulary of {vocab_size}")


def _lines(plain: dict[str, Any]) -> str:
    """JSON with a line for each text, artifact and call."""
    artifacts = [
        _object(each, calls=_array(_compact(call) for call in each["calls"])) for each in plain["artifacts"]
    ]
    texts = _array(_compact(each) for each in plain["texts"])
    return _object(plain, texts=texts, artifacts=_array(artifacts))


def _object(plain: dict[str, Any], **written: str) -> str:
    members = (f"{_compact(key)}:{written.get(key) or _compact(value)}" for key, value in plain.items())
    return "{" + ",\n".join(members) + "}"


def _array(members: Iterator[str] | list[str]) -> str:
    return "[\n" + ",\n".join(members) + "]"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
