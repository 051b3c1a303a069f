"""`TowerModel`: one model of a bundle under construction, of one signature, over a tower's weights.

Also the models that give the embedding of a token that ends an image or a sound. Not about what is computed
(`vision.graphs`, `audio.graphs`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.formats.litert_graph import is_split
from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.linears import Linears
from exporter.lowering.litert.signatures import LiteRtGraph
from exporter.lowering.litert.storage import MatrixStore, factors_in, values_in
from exporter.lowering.litert.tower_operations import TowerOperations
from exporter.models.text.spec import Role
from exporter.quantization.store.checkpoint import Matrix, StoredTower

LOOKED_UP = Role.POSITIONS


class _Stores(dict[str, MatrixStore]):
    """The matrices of one model, each from when it is first asked for."""

    def __init__(
        self, matrices: Mapping[str, Matrix], tables: Collection[str], builder: ModelBuilder
    ) -> None:
        super().__init__()
        self.matrices, self.tables, self.builder = matrices, tables, builder

    def __missing__(self, name: str) -> MatrixStore:
        store = MatrixStore.of(self.matrices[name], self.builder, multiplied=name not in self.tables)
        self[name] = store
        return store


class TowerModel:
    """Declare inputs, compute with `ops` and `linears`, then `finish`."""

    def __init__(self, tower: StoredTower, signature: str) -> None:
        self.builder = ModelBuilder()
        self.graph = SubgraphBuilder(self.builder, signature)
        self.ops = TowerOperations(self.graph)
        tables = {each.name for each in tower.spec.weights() if each.role is LOOKED_UP}
        self.stores = _Stores(tower.matrices, tables, self.builder)
        self.linears = Linears(
            self.ops,
            values_in(self.graph, self.stores),
            lambda name: is_split(tower.matrices[name].scheme),
            factors_in(self.graph, self.stores),
        )

    def input(self, name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        return self.graph.input(name, shape, dtype)

    def finish(self, outputs: dict[str, Tensor]) -> LiteRtGraph:
        self.graph.finish(outputs)
        return LiteRtGraph(self.builder.model, self.stores)


def build_end(signature: str, output: str, end: NDArray[np.float32]) -> LiteRtGraph:
    """A model that takes nothing and gives [1, 1, hidden]. end: [hidden], as the decoder takes it."""
    builder = ModelBuilder()
    graph = SubgraphBuilder(builder, signature)
    ops = TowerOperations(graph)
    graph.finish({output: ops.reshape(graph.constant(end), [1, 1, len(end)])})
    return LiteRtGraph(builder.model, {})
