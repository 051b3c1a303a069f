"""`EncoderModel`: a model of a bundle that images or sounds go through, and opening all of a tower's.

Not about what they are given (`image_encoder`, `sound_encoder`) or what LiteRT-LM calls them
(`image_models`, `sound_models`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import ArtifactError
from runtimes.litert.compiled import (
    close_model,
    compile_model,
    refusals_explained,
    require_litert,
    require_room_to_pack,
)
from runtimes.litert.container import tower_models
from runtimes.litert.external_weights import write_head
from runtimes.litert.model_file import computing

SUFFIX = ".tflite"


@dataclass(frozen=True)
class Needed:
    """Names that a model has to take and return."""

    inputs: frozenset[str]
    outputs: frozenset[str]


@dataclass(frozen=True)
class EncoderModel:
    """A compiled model of one signature, with buffers by name. takes, gives: shapes of its inputs and
    outputs, of which two may have one name."""

    model: Any
    takes: Mapping[str, tuple[int, ...]]
    gives: Mapping[str, tuple[int, ...]]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]

    @classmethod
    def of(cls, model: Any, path: Path, needed: Needed) -> Self:
        """Inside `refusals_explained(path)`. Raises ArtifactError, naming `path`, for a model that lacks
        what is needed of it."""
        names = list(model.get_signature_list())
        if len(names) != 1:
            raise ArtifactError(f"{path}: a tower's model of it has signatures {names}; export it again")
        (name,) = names
        takes = _shapes(model.get_input_tensor_details(name))
        gives = _shapes(model.get_output_tensor_details(name))
        if missing := (needed.inputs - takes.keys()) | (needed.outputs - gives.keys()):
            raise ArtifactError(f"{path}: a tower's model of it lacks {min(missing)!r}; export it again")
        inputs = {each: model.create_input_buffer_by_name(name, each) for each in takes}
        outputs = {each: model.create_output_buffer_by_name(name, each) for each in gives}
        # Of what it sets up when a process first looks into a buffer, LiteRT tells at length.
        next(iter(outputs.values())).read(1, np.float32)
        return cls(model, takes, gives, inputs, outputs)

    def run(self, given: Mapping[str, NDArray[Any]], wanted: str) -> NDArray[np.float32]:
        for name, values in given.items():
            self.inputs[name].write(np.ascontiguousarray(values))
        self.submit()
        shape = self.gives[wanted]
        found: NDArray[np.float32] = self.outputs[wanted].read(math.prod(shape), np.float32)
        return found.reshape(shape)

    def submit(self) -> None:
        """Compute, and return once outputs may be read."""
        self.model.run_by_index(0, list(self.inputs.values()), list(self.outputs.values()))

    def close(self) -> None:
        for buffer in (*self.inputs.values(), *self.outputs.values()):
            buffer.destroy()
        close_model(self.model)


@dataclass(frozen=True)
class OpenedModels:
    """A tower's models, by what LiteRT-LM calls them, and the files they are in. arithmetic: of the first,
    in words. scratch: to be cleaned up behind them."""

    models: Mapping[str, EncoderModel]
    files: Mapping[str, Path]
    arithmetic: str
    scratch: tempfile.TemporaryDirectory[str]

    def close(self) -> None:
        for model in self.models.values():
            model.close()
        self.scratch.cleanup()


@dataclass(frozen=True)
class TowerFiles:
    """Which models to open, and what each needs, the first of which has to be there.

    what: a tower of images or sounds, for messages.
    """

    needed: Mapping[str, Needed]
    what: str


def open_tower(path: Path, wanted: TowerFiles, threads: int, scratch: Path | None) -> OpenedModels:
    """Open models inside a .litertlm (their weights are not copied), or in a directory of them.

    scratch: as of `LiteRtSession.open`. Raises RuntimeUnavailable without ai-edge-litert, ArtifactError
    for what holds no such tower, and OSError where the packed copy may not fit.
    """
    require_litert()
    directory = tempfile.TemporaryDirectory(prefix="gemma-litert-", dir=scratch)
    try:
        place = Path(directory.name)
        files = _files(path, place, list(wanted.needed))
        if next(iter(wanted.needed)) not in files:
            raise ArtifactError(f"{path}: holds no {wanted.what}; export it without --components")
        computes = [computing(path, file) for file in files.values()]
        require_room_to_pack(place, sum(each.packed for each in computes))
        models = {}
        with refusals_explained(path):
            for name, file in files.items():
                own = place / f"{name}.packed"
                own.mkdir()
                compiled = compile_model(file, own, threads)
                models[name] = EncoderModel.of(compiled, path, wanted.needed[name])
        return OpenedModels(models, files, computes[0].arithmetic, directory)
    except BaseException:
        directory.cleanup()
        raise


def _files(path: Path, scratch: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Those that are there, as files LiteRT can open."""
    if path.is_dir():
        return {name: file for name in wanted if (file := path / f"{name}{SUFFIX}").exists()}
    sections, found = tower_models(path), {}
    for name in wanted:
        if name in sections:
            found[name] = scratch / f"{name}{SUFFIX}"
            write_head(path, sections[name], found[name])
    return found


def _shapes(details: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(int(side) for side in entry["shape"]) for name, entry in details.items()}
