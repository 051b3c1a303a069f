"""Gemma 4 E's bundles: tables in sections of their own, each weight once, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litert_lm_builder import litertlm_peek

from exporter.errors import LoweringError
from exporter.lowering.litert.declarations import Span, text
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.lowering.litert.reading import TEXT, LiteRtFile, open_models
from exporter.lowering.litert.signatures import LiteRtGraph, build_embedded_graph
from exporter.lowering.litert.storage import MatrixStore
from exporter.lowering.litert.verification import verify_written
from exporter.models.text.spec import Role
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import IntegerMatrix, QuantizedCheckpoint
from exporter.schemes import FP32, INT4_CHANNEL, INT4_G32, INT8_CHANNEL, Scheme
from exporter.validation.stored_weights import differing_numbers
from runtimes.litert.container import (
    EMBEDDER,
    PER_LAYER_EMBEDDER,
    PREFILL_DECODE,
    SECTION_ALIGNMENT,
    TFLITE_KIND,
    WEIGHTS_KIND,
    Section,
    bundle_models,
    read_sections,
)
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma4_e2b
from tests.tiny_releases import CHUNK, CONTEXT, eager_logits, mean_kl, some_tokens
from tests.unit.exporter.lowering.litert.tiny_releases import (
    EVERY_FORMAT,
    TinyRelease,
    litert_logits,
    lowered,
    twin_logits,
)

EMBEDDING, TABLE = "model.embed_tokens.weight", "model.embed_tokens_per_layer.weight"
PREFILLED = 2 * CHUNK + 5
TABLE_SCHEMES = [INT8_CHANNEL, INT4_CHANNEL, INT4_G32, FP32]


def _checkpoint(directory: Path, tables: Scheme, **changes: Any) -> QuantizedCheckpoint:
    source = RandomSource({**tiny_gemma4_e2b(), **changes})
    schemes = {
        weight.name: INT8_CHANNEL if weight.role is Role.LINEAR else tables
        for weight in source.components["text"].weights
        if weight.is_matrix
    }
    return write_quantized(source, schemes, directory / "quantised", silent)


@pytest.fixture(scope="module", params=TABLE_SCHEMES, ids=lambda scheme: scheme.name)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("embedded")
    return lowered(directory, _checkpoint(directory, request.param))


@pytest.fixture(scope="module")
def int8_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("embedded-int8")
    return lowered(directory, _checkpoint(directory, INT8_CHANNEL))


def _section(path: Path, kind: int, model_type: str) -> Section:
    (found,) = (each for each in read_sections(path) if (each.kind, each.model_type) == (kind, model_type))
    return found


def test_every_table_is_in_one_place(release: TinyRelease) -> None:
    files = open_models(release.path("litertlm"))
    assert list(files) == [TEXT, "embeddings", "per_layer_embeddings"]
    assert TABLE not in files[TEXT].matrices
    assert list(files["per_layer_embeddings"].matrices) == [TABLE]
    assert list(files["embeddings"].matrices) == [EMBEDDING]
    assert files["embeddings"].matrices[EMBEDDING].span == files[TEXT].matrices[EMBEDDING].span


def test_the_embedders_weights_are_the_heads_bytes_on_a_page(release: TinyRelease) -> None:
    path = release.path("litertlm")
    whole = _section(path, TFLITE_KIND, PREFILL_DECODE)
    shared = _section(path, WEIGHTS_KIND, EMBEDDER)
    head = open_models(path)[TEXT].matrices[EMBEDDING]
    last = head.block_scales or head.span
    assert shared.begin % SECTION_ALIGNMENT == 0
    assert (shared.begin, shared.end) == (head.span.begin, last.begin + last.nbytes)
    assert whole.begin < shared.begin < shared.end <= whole.end


def test_signatures_are_those_litert_lm_binds(int8_release: TinyRelease) -> None:
    spec = int8_release.checkpoint.components["text"].spec
    layers, width = len(spec.layers), 32
    files = open_models(int8_release.path("litertlm"))
    for signature, count in zip(files[TEXT].model.signatureDefs, (CHUNK, 1), strict=True):
        inputs = _shapes(files[TEXT], signature, signature.inputs)
        assert "tokens" not in inputs
        assert inputs["embeddings"] == [1, count, spec.hidden_size]
        assert inputs["per_layer_embeddings"] == [1, count, layers, width]
        assert inputs["input_pos"] == [count]
        caches = {f"kv_cache_k_{layer.index}": layer for layer in spec.cache_layers}
        assert {name for name in inputs if name.startswith("kv_cache_k_")} == set(caches)
        for name, layer in caches.items():
            assert inputs[name] == [1, layer.kv_heads, CONTEXT, layer.head_dim]
    assert len({layer.head_dim for layer in spec.cache_layers}) == 2
    assert len(spec.cache_layers) < layers
    for what, shape in (
        ("embeddings", [1, 1, spec.hidden_size]),
        ("per_layer_embeddings", [1, 1, layers, width]),
    ):
        (signature,) = files[what].model.signatureDefs
        assert _shapes(files[what], signature, signature.inputs) == {"token_ids": [1, 1]}
        assert _shapes(files[what], signature, signature.outputs) == {"embeddings": shape}


def _shapes(file: LiteRtFile, signature: Any, entries: Any) -> dict[str, list[int]]:
    subgraph = file.model.subgraphs[signature.subgraphIndex]
    return {text(entry.name): subgraph.tensors[entry.tensorIndex].shape.tolist() for entry in entries}


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_what_is_read_back_is_the_checkpoint(form: str, release: TinyRelease) -> None:
    stored = EVERY_FORMAT.read_back(release.directory, release.artifacts[form])
    assert differing_numbers(stored, release.checkpoint) == 0


def test_a_code_changed_in_the_table_is_read_back(release: TinyRelease, tmp_path: Path) -> None:
    copied = release.copy(tmp_path)
    span = open_models(copied.path("litertlm"))["per_layer_embeddings"].matrices[TABLE].span
    data = bytearray(copied.path("litertlm").read_bytes())
    data[span.begin + 11] ^= 0x11
    copied.path("litertlm").write_bytes(data)
    stored = EVERY_FORMAT.read_back(copied.directory, copied.artifacts["litertlm"])
    assert differing_numbers(stored, release.checkpoint) in {1, 2}  # a byte holds a code or two


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_the_float_twin_computes_what_the_checkpoint_says(
    form: str, release: TinyRelease, tmp_path: Path
) -> None:
    tokens = some_tokens(CONTEXT)
    twin = EVERY_FORMAT.float_twin(release.directory, release.artifacts[form], tmp_path)
    found = twin_logits(twin, tokens, PREFILLED)
    assert mean_kl(eager_logits(release.checkpoint, tokens)[PREFILLED:], found) < 1e-6


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_the_twin_leaves_tables_that_are_only_looked_up(
    form: str, int8_release: TinyRelease, tmp_path: Path
) -> None:
    twin = EVERY_FORMAT.float_twin(int8_release.directory, int8_release.artifacts[form], tmp_path)
    widened = {piece.matrix.name for piece in twin.graph.pieces.values()}
    multiplied = set(int8_release.checkpoint.matrices) - {TABLE}
    assert widened == multiplied
    text_model = open_models(int8_release.path(form))[TEXT].matrices
    assert set(text_model) - widened == ({TABLE} if form == "tflite" else set())


def test_both_formats_compute_the_same(release: TinyRelease) -> None:
    tokens = some_tokens(CONTEXT)
    plain, bundled = (
        litert_logits(release.path(form), tokens, PREFILLED) for form in ("tflite", "litertlm")
    )
    np.testing.assert_allclose(bundled, plain, atol=1e-5)


def test_an_untied_embedding_is_the_embedders_own(tmp_path: Path) -> None:
    checkpoint = _checkpoint(tmp_path, INT8_CHANNEL, tie_word_embeddings=False)
    release = lowered(tmp_path, checkpoint)
    models = bundle_models(release.path("litertlm"))
    assert models.embedders["embeddings"].weights is None
    assert EMBEDDING not in LiteRtFile.open(release.path("litertlm")).matrices
    tokens = some_tokens(CONTEXT)
    found = litert_logits(release.path("litertlm"), tokens, PREFILLED)
    assert mean_kl(eager_logits(checkpoint, tokens)[PREFILLED:], found) < 1e-5


def test_equal_inputs_give_equal_bytes(int8_release: TinyRelease, tmp_path: Path) -> None:
    lowering = LiteRtLowering(frozenset({"litertlm"}))
    again = lowered(tmp_path, int8_release.checkpoint, lowering)
    assert [path.name for path in again.directory.iterdir()] == ["model.litertlm"]
    assert again.path("litertlm").read_bytes() == int8_release.path("litertlm").read_bytes()


def test_litert_lms_own_reader_finds_every_model(int8_release: TinyRelease, tmp_path: Path) -> None:
    said = io.StringIO()
    path = int8_release.path("litertlm")
    litertlm_peek.peek_litertlm_file(str(path), str(tmp_path), said)
    assert len(list(tmp_path.glob("*.tflite"))) == 3
    for model_type in (PREFILL_DECODE, EMBEDDER, PER_LAYER_EMBEDDER):
        assert model_type in said.getvalue()
    data, shared = path.read_bytes(), _section(path, WEIGHTS_KIND, EMBEDDER)
    assert any(
        each.read_bytes() == data[shared.begin : shared.end]
        for each in tmp_path.iterdir()
        if each.suffix != ".tflite"
    )


def test_a_table_in_another_type_is_refused_by_name(int8_release: TinyRelease, tmp_path: Path) -> None:
    table = int8_release.checkpoint.matrices[TABLE]
    assert isinstance(table, IntegerMatrix)
    planned = {**int8_release.checkpoint.matrices, TABLE: replace(table, scheme=INT4_CHANNEL)}
    with pytest.raises(LoweringError, match=r"per_layer\.weight was written as type"):
        verify_written(int8_release.path("litertlm"), planned)


def test_a_weight_stored_twice_is_refused_by_name(
    int8_release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_saying_so(
        checkpoint: QuantizedCheckpoint, context: int, chunk: int, images: None
    ) -> LiteRtGraph:
        graph = build_embedded_graph(checkpoint, context, chunk, images)
        head = graph.stores[EMBEDDING]
        # As if the head were another weight's: the embedder then brings bytes of its own.
        return LiteRtGraph(graph.model, {**_without(graph.stores, EMBEDDING), "another": head})

    monkeypatch.setattr("exporter.lowering.litert.bundle_models.build_embedded_graph", without_saying_so)
    with pytest.raises(LoweringError, match=r"embed_tokens\.weight is stored twice"):
        lowered(tmp_path, int8_release.checkpoint, LiteRtLowering(frozenset({"litertlm"})))


def _without(stores: Mapping[str, MatrixStore], name: str) -> dict[str, MatrixStore]:
    return {each: store for each, store in stores.items() if each != name}


def test_spans_are_places_in_the_file(int8_release: TinyRelease) -> None:
    path = int8_release.path("litertlm")
    file = open_models(path)["per_layer_embeddings"]
    span, matrix = file.matrices[TABLE].span, int8_release.checkpoint.matrices[TABLE]
    assert isinstance(matrix, IntegerMatrix)
    assert span == Span(span.begin, matrix.shape[0] * matrix.shape[1])
    codes = np.frombuffer(path.read_bytes(), np.int8)[span.begin : span.begin + span.nbytes]
    np.testing.assert_array_equal(codes.reshape(matrix.shape), matrix.codes(0, matrix.shape[0]))
