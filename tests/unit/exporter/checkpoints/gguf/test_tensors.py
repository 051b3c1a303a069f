"""Names of tensors against gguf-py's own table; tensors that are no weights of the text model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoints.gguf.architectures import ARCHITECTURES, GgufArchitecture
from exporter.checkpoints.gguf.source import GgufSource
from exporter.checkpoints.gguf.tensors import gguf_name
from exporter.errors import CheckpointError
from exporter.models.text.families import read_spec
from tests.tiny import TINY_CONFIGS, RandomSource
from tests.unit.exporter.checkpoints.written_gguf import (
    TINY_AS_GGUF,
    rope_factors,
    stored_name,
    tiny_architecture,
    write_gguf,
)

GEMMA4 = ("Gemma 4 E2B", "Gemma 4 E4B", "Gemma 4 12B")
FACTORS = "rope_freqs.weight"


def opened(random: RandomSource, path: Path) -> GgufSource:
    return GgufSource.open(path, known=(tiny_architecture(random.architecture),))


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.name)
def test_every_weight_has_the_name_gguf_py_gives_it(entry: GgufArchitecture) -> None:
    spec = read_spec(entry.config, entry.name)
    names = [gguf_name(weight.name, spec) for weight in spec.weights()]
    first = [weight.name for weight in spec.weights() if not weight.name.startswith("model.layers.")]
    first += [weight.name for weight in spec.weights() if weight.name.startswith("model.layers.0.")]
    assert [gguf_name(name, spec) for name in first] == [stored_name(name, spec) for name in first]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("family", TINY_AS_GGUF)
def test_every_tensor_of_every_family_comes_back(tmp_path: Path, family: str) -> None:
    random = RandomSource(TINY_CONFIGS[family]())
    source = opened(random, write_gguf(random, tmp_path / "x.gguf", kinds=("F32",)))
    assert source.components["text"].spec == random.components["text"].spec
    assert source.left_out == ()
    text = random.components["text"]
    added = np.float32(1 if text.spec.norm_adds_one else 0)
    for weight in text.weights:
        expected = random.weights[weight.name]
        if not weight.is_matrix and not weight.name.endswith("layer_scalar"):
            expected = expected + added - added
        np.testing.assert_array_equal(source.rows(weight.name, 0, len(expected)), expected, weight.name)


def test_gemma_4_norms_are_as_stored_and_others_less_one(tmp_path: Path) -> None:
    for family, shift in (("Gemma 4 12B", 0.0), ("Gemma 2", 1.0)):
        random = RandomSource(TINY_CONFIGS[family]())
        source = opened(random, write_gguf(random, tmp_path / "x.gguf"))
        stored = source.file.read_rows("output_norm.weight", 0, 1)[0].view(np.float32)
        np.testing.assert_array_equal(source.rows("model.norm.weight", 0, 64), stored - np.float32(shift))


@pytest.mark.parametrize("family", ["Gemma 4 E2B", "Gemma 4 E4B"])
def test_unused_projections_of_sharing_layers_are_left_out_and_counted(tmp_path: Path, family: str) -> None:
    random = RandomSource(TINY_CONFIGS[family]())
    unused = {
        f"blk.{layer.index}.{part}.weight": np.full(shape, np.nan, np.float32)  # nobody reads them
        for layer in random.components["text"].spec.layers
        if not layer.owns_cache
        for part, shape in {
            "attn_k": (layer.kv_heads * layer.head_dim, 64),
            "attn_v": (layer.kv_heads * layer.head_dim, 64),
            "attn_k_norm": (layer.head_dim,),
        }.items()
    }
    source = opened(random, write_gguf(random, tmp_path / "x.gguf", extra=unused))
    count = sum(values.size for values in unused.values())
    assert source.left_out == (
        f"unused key and value projections of layers that share a cache, {count:,} parameters",
    )
    assert list(source.tensors) == [weight.name for weight in random.components["text"].weights]


def test_a_layer_with_a_cache_must_have_its_projections(tmp_path: Path) -> None:
    random = RandomSource(TINY_CONFIGS["Gemma 4 E2B"]())
    path = write_gguf(random, tmp_path / "x.gguf", without=("blk.4.attn_k.weight",))
    with pytest.raises(
        CheckpointError, match=r"tensor model\.layers\.4\.self_attn\.k_proj\.weight is missing"
    ):
        opened(random, path)


def test_a_value_projection_where_the_key_is_the_value_is_refused(tmp_path: Path) -> None:
    random = RandomSource(TINY_CONFIGS["Gemma 4 12B"]())
    extra = {"blk.2.attn_v.weight": np.ones((64, 64), np.float32)}
    with pytest.raises(CheckpointError, match=r"tensor blk\.2\.attn_v\.weight is not part"):
        opened(random, write_gguf(random, tmp_path / "x.gguf", extra=extra))


@pytest.mark.parametrize("family", GEMMA4)
def test_rope_factors_of_the_spec_are_accepted_and_may_be_absent(tmp_path: Path, family: str) -> None:
    random = RandomSource(TINY_CONFIGS[family]())
    assert FACTORS in opened(random, write_gguf(random, tmp_path / "x.gguf")).file.tensors
    bare = write_gguf(random, tmp_path / "y.gguf", without=(FACTORS,))
    assert FACTORS not in opened(random, bare).file.tensors


@pytest.mark.parametrize("change", ["one more turns", "one fewer turns", "scaled", "longer", "a matrix"])
def test_rope_factors_of_another_rope_are_refused(tmp_path: Path, change: str) -> None:
    random = RandomSource(TINY_CONFIGS["Gemma 4 12B"]())
    factors = rope_factors(random.architecture)[FACTORS]
    assert factors.tolist() == [1.0] * 8 + [float(np.float32(1e30))] * 24
    match change:
        case "one more turns":
            factors[8] = 1.0
        case "one fewer turns":
            factors[7] = 1e30
        case "scaled":
            factors[:8] = 8.0
        case "longer":
            factors = np.append(factors, np.float32(1e30))
        case _:
            factors = factors.reshape(2, 16)
    path = write_gguf(random, tmp_path / "x.gguf", extra={FACTORS: factors})
    with pytest.raises(CheckpointError, match="does not turn the first 8 of 32 frequency pairs"):
        opened(random, path)


def test_rope_factors_are_refused_where_every_pair_turns(tmp_path: Path) -> None:
    random = RandomSource(TINY_CONFIGS["Gemma 3"]())
    extra = {FACTORS: np.ones(16, np.float32)}
    with pytest.raises(CheckpointError, match=r"tensor rope_freqs\.weight is not part of a gemma3_text"):
        opened(random, write_gguf(random, tmp_path / "x.gguf", extra=extra))


def test_a_stored_head_is_refused_where_it_is_tied(tmp_path: Path) -> None:
    random = RandomSource(TINY_CONFIGS["Gemma 2"]())
    extra = {"output.weight": random.weights["model.embed_tokens.weight"]}
    with pytest.raises(CheckpointError, match=r"tensor output\.weight is not part of a gemma2"):
        opened(random, write_gguf(random, tmp_path / "x.gguf", extra=extra))
