"""What an ONNX artifact alone has: a graph, one data file of whole pages, what genai looks for beside them.

What every lowering promises is in tests/contracts/test_lowering.py.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.lowering.onnx.external_data import ALIGNMENT
from tests.tiny_releases import (
    CHUNK,
    CONTEXT,
    some_tokens,
)
from tests.unit.exporter.lowering.onnx.tiny_releases import (
    TinyRelease,
    lowered,
    onnx_logits,
)

RELEASES = ["int8_release", "int4_release", "fp16_release", "fp32_release"]
PREFILLED = 2 * CHUNK + 5


def external_places(path: Path) -> dict[str, tuple[str, int, int]]:
    """Location, offset and length of every initializer with external data."""
    graph = onnx.load(str(path), load_external_data=False).graph
    entries = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }
    return {name: (e["location"], int(e["offset"]), int(e["length"])) for name, e in entries.items()}


def test_all_logits_end_with_the_last_ones(fp32_release: TinyRelease, tmp_path: Path) -> None:
    every = lowered(tmp_path, fp32_release.checkpoint, prefill_logits="all")
    tokens = some_tokens(CONTEXT)
    last, found = (onnx_logits(release.path, tokens, PREFILLED) for release in (fp32_release, every))
    assert found.shape[0] == CONTEXT
    np.testing.assert_allclose(found[PREFILLED - 1 :], last, atol=1e-4)


def test_a_tied_embedding_is_stored_once(int8_release: TinyRelease) -> None:
    places = external_places(int8_release.path)
    lookup, head = (places[f"model.embed_tokens.weight.{suffix}"] for suffix in ("rows", "codes"))
    assert lookup == head


@pytest.mark.parametrize("name", RELEASES)
def test_the_graph_is_valid_and_its_data_is_one_file_of_whole_pages(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    release: TinyRelease = request.getfixturevalue(name).copy(tmp_path)  # twins link the fixture's data
    onnx.checker.check_model(str(release.path))
    data = release.path.with_name("model.onnx.data")
    places = external_places(release.path).values()
    assert {location for location, _, _ in places} == {data.name}
    assert all(offset % ALIGNMENT == 0 for _, offset, _ in places)
    assert max(offset + length for _, offset, length in places) == data.stat().st_size
    ranges = sorted({(offset, offset + length) for _, offset, length in places})
    assert all(end <= start for (_, end), (start, _) in pairwise(ranges))


def test_rope_tables_are_as_long_as_the_context(int8_release: TinyRelease) -> None:
    graph = onnx.load(str(int8_release.path), load_external_data=False).graph
    tables = [list(tensor.dims) for tensor in graph.initializer if tensor.name.startswith("rope.")]
    assert tables == [[CONTEXT, 16]] * 4  # cosines and sines of two bases


def test_the_neighbours_of_the_graph_are_what_genai_looks_for(int8_release: TinyRelease) -> None:
    directory = int8_release.path.parent
    assert {path.name for path in directory.iterdir()} == {
        "chat_template.jinja",
        "genai_config.json",
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((directory / "genai_config.json").read_text())
    assert config["model"]["context_length"] == CONTEXT
    assert config["model"]["eos_token_id"] == [1, 5]
    assert config["model"]["decoder"]["num_hidden_layers"] == 7
    assert (directory / "chat_template.jinja").read_text() == "{{ bos_token }}"
