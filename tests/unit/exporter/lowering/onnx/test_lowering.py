"""A tiny Gemma 3 all the way: lowered, run, read back, twinned, damaged."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.errors import LoweringError
from exporter.lowering.onnx.external_data import ALIGNMENT
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.schemes import INT4_CHANNEL, SCHEMES
from tests.corruption.onnx import FAULTS, Fault, corrupt
from tests.fakes import silent
from tests.tiny import WINDOW, tiny_gemma3
from tests.tiny_releases import (
    CHUNK,
    CONTEXT,
    eager_logits,
    lowering_order,
    mean_kl,
    quantized,
    some_tokens,
)
from tests.unit.exporter.lowering.onnx.tiny_releases import (
    LOWERING,
    TinyRelease,
    lowered,
    onnx_logits,
    twin_logits,
)

RELEASES = ["int8_release", "int4_release", "fp16_release", "fp32_release"]
INTEGER_RELEASES = RELEASES[:2]
TWIN_LIMIT = 1e-6  # the product's own gate
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


def test_the_text_outgrows_the_window_and_the_chunk() -> None:
    assert PREFILLED > WINDOW
    assert PREFILLED % CHUNK
    assert CONTEXT - PREFILLED > WINDOW


def test_it_carries_every_scheme_of_the_project() -> None:
    assert LOWERING.schemes == set(SCHEMES)


@pytest.mark.parametrize("name", RELEASES)
def test_the_float_twin_computes_what_the_checkpoint_says(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    release: TinyRelease = request.getfixturevalue(name)
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(release.checkpoint, tokens)
    assert mean_kl(expected, twin_logits(release, tmp_path, tokens, PREFILLED)) < TWIN_LIMIT


@pytest.mark.parametrize("name", ["fp16_release", "fp32_release"])
def test_a_float_artifact_computes_what_the_checkpoint_says(
    name: str, request: pytest.FixtureRequest
) -> None:
    release: TinyRelease = request.getfixturevalue(name)
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(release.checkpoint, tokens)[PREFILLED - 1 :]
    np.testing.assert_allclose(onnx_logits(release.path, tokens, PREFILLED), expected, atol=1e-4)


def test_an_int8_artifact_loses_next_to_nothing_to_its_kernels(int8_release: TinyRelease) -> None:
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(int8_release.checkpoint, tokens)[PREFILLED - 1 :]
    off = mean_kl(expected, onnx_logits(int8_release.path, tokens, PREFILLED))
    assert 1e-10 < off < TWIN_LIMIT  # above: it does run in integers


def test_an_int4_artifact_is_off_by_its_kernels_rounding_only(int4_release: TinyRelease) -> None:
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(int4_release.checkpoint, tokens)[PREFILLED - 1 :]
    off = mean_kl(expected, onnx_logits(int4_release.path, tokens, PREFILLED))
    assert TWIN_LIMIT < off < 1e-2


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


@pytest.mark.parametrize("name", RELEASES)
def test_what_is_read_back_is_the_checkpoint(name: str, request: pytest.FixtureRequest) -> None:
    release: TinyRelease = request.getfixturevalue(name)
    rows = dict.fromkeys(release.checkpoint.matrices, 0)
    for stored in LOWERING.read_back(release.directory, release.artifact):
        matrix = release.checkpoint.matrices[stored.weight]
        assert stored.start == rows[stored.weight]
        if isinstance(matrix, IntegerMatrix):
            assert stored.codes is not None
            assert stored.scales is not None
            stop = stored.start + len(stored.codes)
            np.testing.assert_array_equal(stored.codes, matrix.codes(stored.start, stop))
            np.testing.assert_array_equal(stored.scales, matrix.scales(stored.start, stop))
        else:
            assert stored.values is not None
            stop = stored.start + len(stored.values)
            np.testing.assert_array_equal(stored.values, matrix.values(stored.start, stop))
        rows[stored.weight] = stop
    assert rows == {name: matrix.shape[0] for name, matrix in release.checkpoint.matrices.items()}


def test_int4_with_one_scale_per_row_is_carried_too(tmp_path: Path) -> None:
    release = lowered(tmp_path, quantized(tmp_path, tiny_gemma3(), INT4_CHANNEL))
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(release.checkpoint, tokens)
    assert mean_kl(expected, twin_logits(release, tmp_path, tokens, PREFILLED)) < TWIN_LIMIT


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", INTEGER_RELEASES)
def test_a_fault_in_the_artifact_is_a_fault_of_its_twin(
    fault: Fault, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    release: TinyRelease = request.getfixturevalue(name).copy(tmp_path)
    corrupt(release.path, fault)
    tokens = some_tokens(CONTEXT)
    found = twin_logits(release, tmp_path, tokens, PREFILLED)
    assert mean_kl(eager_logits(release.checkpoint, tokens), found) > 100 * TWIN_LIMIT


@pytest.mark.parametrize("fault", ["rope", "mask", "norm"])
def test_a_fault_in_a_float_artifact_is_a_fault_of_its_twin(
    fault: Fault, fp16_release: TinyRelease, tmp_path: Path
) -> None:
    release = fp16_release.copy(tmp_path)
    corrupt(release.path, fault)
    tokens = some_tokens(CONTEXT)
    found = twin_logits(release, tmp_path, tokens, PREFILLED)
    assert mean_kl(eager_logits(release.checkpoint, tokens), found) > 100 * TWIN_LIMIT


def test_equal_inputs_give_equal_bytes(int8_release: TinyRelease, tmp_path: Path) -> None:
    again = lowered(tmp_path, int8_release.checkpoint)
    assert _digests(again.path.parent) == _digests(int8_release.path.parent)


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


def test_a_graph_without_logits_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    asked = lowering_order(int8_release.checkpoint, tmp_path, prefill_logits="none")
    with pytest.raises(LoweringError, match="'last' or 'all'"):
        LOWERING.lower(asked, tmp_path, silent)


def test_a_missing_tokenizer_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    asked = lowering_order(int8_release.checkpoint, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(LoweringError, match=r"tokenizer\.json"):
        LOWERING.lower(asked, tmp_path, silent)


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}
