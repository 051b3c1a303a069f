"""Bundles that look tokens up in models of their own: chunks and decoding, and what is refused."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from runtimes.errors import ArtifactError
from runtimes.litert.compiled import close_model, compile_model
from runtimes.litert.container import EMBEDDER, EMBEDDERS, PER_LAYER_EMBEDDER, bundle_models
from runtimes.litert.embedders import Embedder
from runtimes.litert.session import LiteRtSession
from tests.tiny import VOCABULARY
from tests.unit.exporter.lowering.litert.tiny_releases import CHUNK, CONTEXT, TinyRelease, some_tokens

LENGTH_SLOT = 10  # of a schema ExternalBuffer's fields
ROUNDING = 1e-4  # matrix products of many rows and of one add in another order


@pytest.fixture
def damaged(embedded_release: TinyRelease, tmp_path: Path) -> Path:
    """A copy of the bundle, to be damaged."""
    path = tmp_path / "model.litertlm"
    path.write_bytes(embedded_release.path("litertlm").read_bytes())
    return path


def _rename(path: Path, old: str, new: str) -> None:
    data = path.read_bytes()
    assert len(old) == len(new)
    path.write_bytes(data.replace(old.encode(), new.encode()))


@pytest.mark.parametrize("prefilled", [1, CHUNK, 2 * CHUNK + 5, CONTEXT - 3])
def test_a_prefill_leaves_what_decoding_would_have(prefilled: int, embedded_release: TinyRelease) -> None:
    tokens = some_tokens(CONTEXT)
    with LiteRtSession.open(embedded_release.path("litertlm")) as session:
        one_by_one = np.stack([session.decode(int(token)) for token in tokens])
        session.reset()
        session.prefill(tokens[:prefilled])
        rest = np.stack([session.decode(int(token)) for token in tokens[prefilled:]])
    np.testing.assert_allclose(rest, one_by_one[prefilled:], atol=ROUNDING)


def test_facts_are_those_of_the_text_model(embedded_release: TinyRelease) -> None:
    with LiteRtSession.open(embedded_release.path("litertlm")) as session:
        assert (session.facts.vocab_size, session.facts.context) == (VOCABULARY, CONTEXT)
        assert session.facts.prefill_chunk == CHUNK


def test_a_bundle_is_run_without_a_copy_of_any_weight(
    embedded_release: TinyRelease, tmp_path: Path
) -> None:
    with LiteRtSession.open(embedded_release.path("litertlm"), scratch=tmp_path) as session:
        heads = {path.name: path.stat().st_size for path in tmp_path.rglob("*.tflite")}
        assert set(heads) == {"head.tflite", *(f"{fills}.tflite" for fills in EMBEDDERS.values())}
        assert heads["per_layer_embeddings.tflite"] < 10_000
        assert session.decode(7).shape == (VOCABULARY,)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model_type", [EMBEDDER, PER_LAYER_EMBEDDER])
def test_an_input_that_no_embedder_fills_is_refused(model_type: str, damaged: Path) -> None:
    _rename(damaged, model_type, model_type.upper())
    with pytest.raises(ArtifactError, match=f"takes '{EMBEDDERS[model_type]}', which nothing in the file"):
        LiteRtSession.open(damaged)


def test_a_bundle_with_a_model_twice_is_refused(damaged: Path) -> None:
    _rename(damaged, PER_LAYER_EMBEDDER, EMBEDDER.ljust(len(PER_LAYER_EMBEDDER), "\0"))
    data = damaged.read_bytes()
    # The string's own length, before it in the flatbuffer.
    long, short = (len(name).to_bytes(4, "little") for name in (PER_LAYER_EMBEDDER, EMBEDDER))
    damaged.write_bytes(data.replace(long + EMBEDDER.encode() + b"\0", short + EMBEDDER.encode() + b"\0"))
    with pytest.raises(ArtifactError, match="holds tf_lite_embedder twice"):
        LiteRtSession.open(damaged)


def test_weights_outside_their_section_are_refused(damaged: Path) -> None:
    _lengthen_the_embedders_weights(damaged)
    with pytest.raises(ArtifactError, match="tf_lite_embedder names weights outside its section"):
        LiteRtSession.open(damaged)


def test_a_model_of_more_than_one_token_is_no_embedder(tiny_release: TinyRelease, tmp_path: Path) -> None:
    model = compile_model(tiny_release.path(), tmp_path, 1)
    with pytest.raises(ArtifactError, match="does not take one token"):
        Embedder.of(model, tiny_release.path())
    close_model(model)


def _lengthen_the_embedders_weights(path: Path) -> None:
    section = bundle_models(path).embedders["embeddings"].model
    with path.open("r+b") as file:
        data = mmap.mmap(file.fileno(), section.end - section.begin, offset=section.begin)
    table = schema.Model.GetRootAs(data, 0).ExternalBuffers(0)._tab
    at = table.Pos + table.Offset(LENGTH_SLOT)
    length = int.from_bytes(data[at : at + 8], "little")
    data[at : at + 8] = (length + 1).to_bytes(8, "little")
    data.flush()
