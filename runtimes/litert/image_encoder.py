"""`LiteRtImageEncoder`: the image tower of a .litertlm behind the `ImageEncoder` interface, on the CPU.

Runs the bundle's encoder and, where there is one, its adapter, as LiteRT-LM does. Not about reading
pictures, nor about the decoder (`image_session`).
"""

from __future__ import annotations

import importlib.metadata
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.encoder import ArrayFacts, EncoderFacts
from runtimes.errors import ArtifactError, EncoderError
from runtimes.images.prepared import ImageRows, PreparedImage
from runtimes.litert.compiled import (
    close_model,
    compile_model,
    refusals_explained,
    require_litert,
    require_room_to_pack,
)
from runtimes.litert.container import vision_models
from runtimes.litert.external_weights import write_head
from runtimes.litert.image_models import (
    ADAPTED,
    FEATURES,
    IMAGES,
    PATCH_POSITIONS,
    SOFT_TOKENS,
    VISION_ADAPTER,
    VISION_ENCODER,
)
from runtimes.litert.model_file import computing

SUFFIX = ".tflite"


@dataclass(frozen=True)
class VisionModel:
    """A compiled model of one signature, with buffers by name. shapes: of what it takes and returns."""

    model: Any
    shapes: Mapping[str, tuple[int, ...]]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]

    @classmethod
    def of(cls, model: Any, path: Path, needed: frozenset[str]) -> Self:
        """Raises ArtifactError, naming `path`, for a model that lacks what is needed of it."""
        names = list(model.get_signature_list())
        if len(names) != 1:
            raise ArtifactError(f"{path}: an image model of it has signatures {names}; export it again")
        (name,) = names
        details = (model.get_input_tensor_details(name), model.get_output_tensor_details(name))
        shapes = {
            each: tuple(int(side) for side in entry["shape"])
            for part in details
            for each, entry in part.items()
        }
        if missing := needed - set(shapes):
            raise ArtifactError(f"{path}: an image model of it lacks {min(missing)!r}; export it again")
        return cls(
            model,
            shapes,
            {each: model.create_input_buffer_by_name(name, each) for each in details[0]},
            {each: model.create_output_buffer_by_name(name, each) for each in details[1]},
        )

    def run(self, given: Mapping[str, NDArray[Any]], wanted: str) -> NDArray[np.float32]:
        for name, values in given.items():
            self.inputs[name].write(np.ascontiguousarray(values))
        self.submit()
        shape = self.shapes[wanted]
        found: NDArray[np.float32] = self.outputs[wanted].read(math.prod(shape), np.float32)
        return found.reshape(shape)

    def submit(self) -> None:
        self.model.run_by_index(0, list(self.inputs.values()), list(self.outputs.values()))

    def close(self) -> None:
        for buffer in (*self.inputs.values(), *self.outputs.values()):
            buffer.destroy()
        close_model(self.model)


class LiteRtImageEncoder:
    """Satisfies `ImageEncoder`. `open` makes one."""

    def __init__(
        self,
        encoder: VisionModel,
        adapter: VisionModel | None,
        arithmetic: str,
        scratch: tempfile.TemporaryDirectory[str],
    ) -> None:
        self._encoder, self._adapter, self._scratch = encoder, adapter, scratch
        self._closed = False
        self.soft_tokens, self.width = _rows_of(encoder, adapter)
        self._facts = EncoderFacts(
            runtime="LiteRT",
            version=importlib.metadata.version("ai-edge-litert"),
            arithmetic=arithmetic,
            inputs=_taken(encoder),
            outputs={"rows": ArrayFacts((self.soft_tokens, self.width), np.dtype(np.float32))},
        )

    @classmethod
    def open(cls, path: Path, *, threads: int = 2, scratch: Path | None = None) -> Self:
        """Open the image models inside a .litertlm (their weights are not copied), or a directory of them.

        scratch: as of `LiteRtSession.open`. Raises RuntimeUnavailable without ai-edge-litert, ArtifactError
        for what holds no image tower, and OSError where the packed copy may not fit.
        """
        require_litert()
        directory = tempfile.TemporaryDirectory(prefix="gemma-litert-", dir=scratch)
        try:
            place = Path(directory.name)
            files = _files(path, place)
            computes = [computing(path, each) for each in files.values()]
            require_room_to_pack(place, sum(each.packed for each in computes))
            with refusals_explained(path):
                models = {}
                for name, file in files.items():
                    own = place / f"{name}.packed"
                    own.mkdir()
                    models[name] = compile_model(file, own, threads)
            encoder = VisionModel.of(models[VISION_ENCODER], path, frozenset({IMAGES, FEATURES}))
            adapter = None
            if VISION_ADAPTER in models:
                needed = frozenset({SOFT_TOKENS, ADAPTED})
                adapter = VisionModel.of(models[VISION_ADAPTER], path, needed)
            return cls(encoder, adapter, computes[0].arithmetic, directory)
        except BaseException:
            directory.cleanup()
            raise

    @property
    def facts(self) -> EncoderFacts:
        return self._facts

    def rows(self, image: PreparedImage) -> ImageRows:
        if self._closed:
            raise EncoderError("the encoder is closed; open the artifact again")
        given = self._given(image)
        found = self._encoder.run(given, FEATURES)
        if self._adapter is not None:
            found = self._adapter.run({SOFT_TOKENS: found}, ADAPTED)
        rows: ImageRows = found[0, : image.soft_tokens].copy()
        return rows

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._encoder.close()
        if self._adapter is not None:
            self._adapter.close()
        self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _given(self, image: PreparedImage) -> dict[str, NDArray[Any]]:
        """The encoder's inputs, padded."""
        shape = self._encoder.shapes[IMAGES]
        if (PATCH_POSITIONS in self._encoder.shapes) != (image.positions is not None):
            raise EncoderError("the picture was prepared for another kind of tower; follow its own release")
        if image.soft_tokens > self.soft_tokens:
            raise EncoderError(
                f"a picture of {image.soft_tokens} soft tokens, and this tower makes {self.soft_tokens} at "
                "most; prepare it with fewer"
            )
        if image.positions is None:
            wanted = (1, shape[3], *shape[1:3])
            if image.pixels.shape != wanted:
                raise EncoderError(f"pixels are {list(wanted)}, got {list(image.pixels.shape)}")
            # LiteRT-LM gives values in [0, 1], channels last.
            return {IMAGES: image.pixels.transpose(0, 2, 3, 1) * np.float32(0.5) + np.float32(0.5)}
        count = image.pixels.shape[1]
        if image.pixels.shape != (1, count, shape[2]) or count > shape[1]:
            raise EncoderError(
                f"pixels are [1, {shape[1]} or fewer, {shape[2]}], got {list(image.pixels.shape)}"
            )
        square = shape[1] // self.soft_tokens  # patches of a soft token
        if count != square * image.soft_tokens:
            raise EncoderError(
                f"{count} patches are not {square} for each of {image.soft_tokens} soft tokens; prepare "
                "the picture with the processing of this release"
            )
        pixels, positions = np.zeros(shape, np.float32), np.full((1, shape[1], 2), -1, np.int32)
        pixels[:, :count], positions[:, :count] = image.pixels, image.positions
        return {IMAGES: pixels, PATCH_POSITIONS: positions}


def _files(path: Path, scratch: Path) -> dict[str, Path]:
    """The encoder and, where there is one, the adapter, as files LiteRT can open."""
    wanted = (VISION_ENCODER, VISION_ADAPTER)
    if path.is_dir():
        found = {name: path / f"{name}{SUFFIX}" for name in wanted if (path / f"{name}{SUFFIX}").exists()}
    else:
        sections = vision_models(path)
        found = {}
        for name in wanted:
            if name in sections:
                found[name] = scratch / f"{name}{SUFFIX}"
                write_head(path, sections[name], found[name])
    if VISION_ENCODER not in found:
        raise ArtifactError(f"{path}: holds no image tower; export it with --components all")
    return found


def _rows_of(encoder: VisionModel, adapter: VisionModel | None) -> tuple[int, int]:
    """How many soft tokens come out, and how wide they are. A Gemma 3's adapter gives the end of the image
    too."""
    if adapter is None:
        rows, width = encoder.shapes[FEATURES][1:]
        return rows, width
    rows, width = adapter.shapes[ADAPTED][1:]
    return (rows if PATCH_POSITIONS in encoder.shapes else rows - 1), width


def _taken(encoder: VisionModel) -> dict[str, ArrayFacts]:
    """By the names of `PreparedImage.arrays`."""
    shape = encoder.shapes[IMAGES]
    if PATCH_POSITIONS not in encoder.shapes:
        return {"pixels": ArrayFacts((1, shape[3], *shape[1:3]), np.dtype(np.float32))}
    return {
        "pixels": ArrayFacts(shape, np.dtype(np.float32)),
        "positions": ArrayFacts(encoder.shapes[PATCH_POSITIONS], np.dtype(np.int32)),
    }
