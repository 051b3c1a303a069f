"""`OnnxImageEncoder`: an image tower as an ONNX graph, run by ONNX Runtime on the CPU.

Not about cutting pictures up, or onnxruntime-genai, which runs the same file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from runtimes.encoder import ArrayFacts, EncodedRows, EncoderFacts
from runtimes.errors import ArtifactError, EncoderError
from runtimes.images.prepared import PreparedImage
from runtimes.onnx.session import METADATA, inference_session, runtime_version
from runtimes.opening import EncoderOpening

if TYPE_CHECKING:
    import onnxruntime

PIXELS, POSITIONS, FEATURES = "pixel_values", "pixel_position_ids", "image_features"


class OnnxImageEncoder:
    """Satisfies `ImageEncoder`. Raises as `OnnxSession` does."""

    def __init__(self, opening: EncoderOpening) -> None:
        encoder = opening.encoder
        path = opening.release / encoder.path
        self._session: onnxruntime.InferenceSession | None = inference_session(path, opening.threads)
        self._width = encoder.width
        said = self._session.get_modelmeta().custom_metadata_map
        sides = {value.name: value.shape for value in self._session.get_inputs()}
        try:
            patches, arithmetic = int(said[f"{METADATA}patches"]), said[f"{METADATA}arithmetic"]
            # [images, 3, side, side], or [1, patches, numbers]
            sides_of_one = sides[PIXELS][1:] if len(sides[PIXELS]) == 4 else (patches, sides[PIXELS][2])
            pixels = (1, *sides_of_one)
        except (KeyError, ValueError) as error:
            raise ArtifactError(
                f"{path}: says nothing of {error}; it was not written by gemma-export, export again"
            ) from error
        inputs = {"pixels": ArrayFacts(pixels, np.dtype(np.float32))}
        if POSITIONS in sides:
            inputs["positions"] = ArrayFacts((1, patches, 2), np.dtype(np.int32))
        self._facts = EncoderFacts(
            runtime="ONNX Runtime",
            version=runtime_version(),
            arithmetic=arithmetic,
            inputs=inputs,
            outputs={"rows": ArrayFacts((encoder.soft_tokens, encoder.width), np.dtype(np.float32))},
        )

    @property
    def facts(self) -> EncoderFacts:
        """Inputs and outputs are those of the largest picture; patches may be fewer."""
        return self._facts

    def rows(self, image: PreparedImage) -> EncodedRows:
        if self._session is None:
            raise EncoderError("the encoder is closed; open the artifact again")
        self._require_taken(image)
        given = {PIXELS: image.pixels}
        if image.positions is not None:
            given[POSITIONS] = image.positions.astype(np.int64)
        (found,) = self._session.run([FEATURES], given)
        rows: EncodedRows = found.reshape(-1, found.shape[-1])[:, : self._width]
        if rows.shape != (image.soft_tokens, self._width):
            raise EncoderError(
                f"the tower made rows {list(rows.shape)} of a picture of {image.soft_tokens} soft tokens; "
                "prepare it as the release's image_processing.json says"
            )
        return rows

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _require_taken(self, image: PreparedImage) -> None:
        """Raise EncoderError for a picture of another kind, or a larger one."""
        arrays, wanted = image.arrays, self._facts.inputs
        if arrays.keys() != wanted.keys():
            raise EncoderError(
                f"a picture of {sorted(arrays)} was given; this tower takes {sorted(wanted)}"
            )
        for name, largest in wanted.items():
            found = ArrayFacts(arrays[name].shape, arrays[name].dtype)
            fits = len(found.shape) == len(largest.shape) and (
                (found.shape[0], *found.shape[2:]) == (largest.shape[0], *largest.shape[2:])
                and found.shape[1] <= largest.shape[1]
            )
            if found.dtype != largest.dtype or not fits:
                raise EncoderError(f"input {name!r} is {found}; give {largest}, or fewer patches")
        (rows,) = self._facts.outputs.values()
        if not 0 < image.soft_tokens <= rows.shape[0]:
            raise EncoderError(
                f"a picture of {image.soft_tokens} soft tokens was given, this tower makes up to "
                f"{rows.shape[0]}; prepare it as the release's image_processing.json says"
            )
