"""`OnnxEncoder`: a tower of images or sounds as an ONNX graph, run by ONNX Runtime on the CPU.

What drivers of both have in common. Not about what a tower is given (`image_encoder`, `sound_encoder`), or
onnxruntime-genai, which runs the same files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import ArrayFacts, Arrays, EncodedRows, EncoderFacts
from runtimes.errors import ArtifactError, EncoderError
from runtimes.excerpt import plain_excerpt
from runtimes.onnx.session import METADATA, inference_session, runtime_version
from runtimes.opening import EncoderOpening

if TYPE_CHECKING:
    import onnxruntime


@dataclass(frozen=True)
class TowerWords:
    """taken: what a tower takes one of at a time. parts: what that has a number of. features: the graph's
    output. described: the release's file that says how to prepare one."""

    taken: str
    parts: str
    features: str
    described: str


class OnnxEncoder:
    """Raises as `OnnxSession` does.

    marked_on_the_web: whether rows for transformers.js may have one number more, which is 1 and marks them
    where rows of tokens have 0."""

    words: TowerWords
    marked_on_the_web = False

    def __init__(self, opening: EncoderOpening) -> None:
        encoder = opening.encoder
        path = opening.release / encoder.path
        self._session: onnxruntime.InferenceSession | None = inference_session(path, opening.threads)
        self._path, self._width = path, encoder.width
        self._may_be_marked = self.marked_on_the_web and encoder.format == "onnx-web"
        self._facts = EncoderFacts(
            runtime="ONNX Runtime",
            version=runtime_version(),
            arithmetic=self._said(path, "arithmetic"),
            inputs=self._largest(path, {value.name: value.shape for value in self._session.get_inputs()}),
            outputs={"rows": ArrayFacts((encoder.soft_tokens, encoder.width), np.dtype(np.float32))},
        )
        self._require_width(path)

    @property
    def facts(self) -> EncoderFacts:
        """Inputs and outputs are those of the largest it takes; what it is given may have fewer parts."""
        return self._facts

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _largest(self, path: Path, sides: Mapping[str, Any]) -> dict[str, ArrayFacts]:
        """What a prepared one looks like at most. sides: of the graph's inputs. Raises ArtifactError."""
        raise NotImplementedError

    def _require_width(self, path: Path) -> None:
        """Raise ArtifactError for rows of another width than the manifest says, with a mark or without."""
        assert self._session is not None
        outputs = {value.name: value.shape for value in self._session.get_outputs()}
        made = outputs.get(self.words.features, [None])[-1]
        if made not in (self._width, self._width + 1 if self._may_be_marked else self._width):
            raise ArtifactError(
                f"{path}: makes no {self.words.features} of width {self._width}, which the manifest says, "
                f"but of {made}; copy the release again"
            )

    def _said(self, path: Path, key: str) -> str:
        """What the graph says of itself. Raises ArtifactError."""
        assert self._session is not None
        said = self._session.get_modelmeta().custom_metadata_map.get(f"{METADATA}{key}")
        if said is None:
            raise ArtifactError(
                f"{path}: says nothing of {key!r}; it was not written by gemma-export, export again"
            )
        return str(said)

    def _count(self, path: Path, key: str) -> int:
        said = self._said(path, key)
        if not said.isascii() or not said.isdigit():
            raise ArtifactError(f"{path}: says of {key!r} what is no number; export again")
        return int(said)

    def _encoded(self, given: Mapping[str, NDArray[Any]], soft_tokens: int) -> EncodedRows:
        """Rows of what the graph is given."""
        assert self._session is not None
        try:
            (found,) = self._session.run([self.words.features], dict(given))
        except Exception as error:  # its C extension's classes have no base of their own
            raise EncoderError(
                f"ONNX Runtime cannot run the tower on this {self.words.taken} ({plain_excerpt(error)})"
            ) from error
        rows: EncodedRows = found.reshape(-1, found.shape[-1])
        rows, marks = rows[:, : self._width], rows[:, self._width :]
        if not (marks == 1.0).all():
            raise ArtifactError(
                f"{self._path}: makes rows of width {found.shape[-1]}, the manifest says "
                f"{self._width}, and what is behind them is no mark; copy the release again"
            )
        if rows.shape != (soft_tokens, self._width):
            raise EncoderError(
                f"the tower made rows {list(rows.shape)} of a {self.words.taken} of {soft_tokens} soft "
                f"tokens; prepare it as the release's {self.words.described} says"
            )
        return rows

    def _require_taken(self, arrays: Arrays, soft_tokens: int) -> None:
        """Raise EncoderError for one of another kind, or a larger one, and once closed."""
        if self._session is None:
            raise EncoderError("the encoder is closed; open the artifact again")
        wanted, words = self._facts.inputs, self.words
        if arrays.keys() != wanted.keys():
            raise EncoderError(
                f"a {words.taken} of {sorted(arrays)} was given; this tower takes {sorted(wanted)}"
            )
        for name, largest in wanted.items():
            found = ArrayFacts(arrays[name].shape, arrays[name].dtype)
            fits = len(found.shape) == len(largest.shape) and (
                (found.shape[0], *found.shape[2:]) == (largest.shape[0], *largest.shape[2:])
                and found.shape[1] <= largest.shape[1]
            )
            if found.dtype != largest.dtype or not fits:
                raise EncoderError(f"input {name!r} is {found}; give {largest}, or fewer {words.parts}")
        (rows,) = self._facts.outputs.values()
        if not 0 < soft_tokens <= rows.shape[0]:
            raise EncoderError(
                f"a {words.taken} of {soft_tokens} soft tokens was given, this tower makes up to "
                f"{rows.shape[0]}; prepare it as the release's {words.described} says"
            )
