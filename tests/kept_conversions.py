"""Core ML conversions that all workers keep: what coremltools has converted once, it need not again.

A conversion takes seconds, of a tiny decoder too, and depends on the trace and on what is declared of its
inputs alone: weights come in later (`binding`), so that a model's schemes and releases share one. Not
about tests of conversions as such, which take `converted_afresh` of tests/conftest.py.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.lowering.coreml.quiet import quietly
from exporter.lowering.coreml.traced_program import Traceable

MODEL, WEIGHTS = "model", "weight.bin"
MANGLED = re.compile(r"___torch_mangle_\d+\.")  # counts the traces of a process


@dataclass(frozen=True)
class KeptModel:
    """What `to_program` asks of coremltools' own model."""

    directory: Path

    @property
    def weights_dir(self) -> str:
        return str(self.directory)

    def get_spec(self) -> Any:
        with quietly():  # imported here: it takes seconds, and few tests convert anything
            from coremltools.proto import Model_pb2

        return Model_pb2.Model.FromString((self.directory / MODEL).read_bytes())


@dataclass(frozen=True)
class KeptConversions:
    """Conversions by `convert`, kept below a directory that other processes may fill as well."""

    directory: Path
    convert: Callable[[Any, Traceable], Any]

    @classmethod
    def below(cls, shared: Path, convert: Callable[[Any, Traceable], Any]) -> KeptConversions:
        (directory := shared / "conversions").mkdir(exist_ok=True)
        return cls(directory, convert)

    def __call__(self, traced: Any, traceable: Traceable) -> KeptModel:
        kept = self.directory / _digest(traced, traceable)
        if not kept.exists():
            self._keep(self.convert(traced, traceable), kept)
        return KeptModel(kept)

    def _keep(self, model: Any, kept: Path) -> None:
        made = Path(tempfile.mkdtemp(dir=self.directory))
        (made / MODEL).write_bytes(model.get_spec().SerializeToString())
        weights = Path(model.weights_dir) / WEIGHTS
        if weights.exists():  # not where all constants are small
            shutil.copy(weights, made)
        try:
            os.rename(made, kept)
        except OSError:  # another worker was first
            shutil.rmtree(made)


def _digest(traced: Any, traceable: Traceable) -> str:
    """Of everything that is handed to coremltools."""
    graph = traced.inlined_graph
    inputs = [(each.name, each.example.dtype, each.shape) for each in traceable.inputs]
    declared = (inputs, dict(traceable.matrices), dict(traceable.states), traceable.outputs)
    digest = hashlib.sha256(f"{MANGLED.sub('', str(graph))}\n{declared}".encode())
    constants = [node.t("value") for node in graph.findAllNodes("prim::Constant") if _is_tensor(node)]
    for tensor in [*constants, *traced.state_dict().values()]:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _is_tensor(node: Any) -> bool:
    return bool(node.hasAttribute("value") and node.kindOf("value") == "t")
