"""LiteRT reads a row of a quantised table exactly: code times scale, to the last bit.

A float twin relies on it: a table that is only looked up stays in it as it is stored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.reading import LiteRtFile
from exporter.lowering.litert.storage import MatrixStore
from exporter.lowering.litert.writing import write_tflite
from exporter.quantization.quantize import write_quantized
from exporter.schemes import FP16, INT2_CHANNEL, INT4_CHANNEL, INT4_G32, INT8_CHANNEL, Scheme
from runtimes.litert.compiled import close_model, compile_model, refusals_explained
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3

TABLE = "model.embed_tokens.weight"
ROWS = np.random.default_rng(2).integers(0, 512, 64).astype(np.int32)


@pytest.mark.parametrize(
    "scheme",
    [INT8_CHANNEL, INT4_CHANNEL, INT2_CHANNEL, INT4_G32, FP16],
    ids=lambda scheme: str(scheme.name),
)
def test_a_looked_up_row_is_code_times_scale(scheme: Scheme, tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma3())
    schemes = {weight.name: scheme for weight in source.components["text"].weights if weight.is_matrix}
    checkpoint = write_quantized(source, schemes, tmp_path / "quantised", silent)
    builder = ModelBuilder()
    store, graph = MatrixStore.of(checkpoint.matrices[TABLE], builder), SubgraphBuilder(builder, "look_up")
    tokens = graph.input("tokens", (len(ROWS),), torch.int32)
    graph.finish({"rows": Operations(graph).embedding(tokens, store.value_in(graph))})
    path = tmp_path / "table.tflite"
    with path.open("wb") as file:
        write_tflite(builder.model, store.data, file, lambda done, total: None)
    written = LiteRtFile.open(path)
    expected = written.values(written.matrices[TABLE], 0, 512)[ROWS]
    np.testing.assert_array_equal(_run(path, tmp_path, expected.shape), expected)


def _run(
    path: Path, scratch: Path, shape: tuple[int, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with refusals_explained(path):
        model = compile_model(path, scratch, 1)
    given = model.create_input_buffer_by_name("look_up", "tokens")
    found = model.create_output_buffer_by_name("look_up", "rows")
    given.write(ROWS)
    model.run_by_index(0, [given], [found])
    rows = np.array(found.read(int(np.prod(shape)), np.float32)).reshape(shape)
    for buffer in (given, found):
        buffer.destroy()
    close_model(model)
    return rows
