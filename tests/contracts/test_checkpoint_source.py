"""What every checkpoint source promises, whatever files it lies in.

Sources: a Hub directory in one file and in shards, checkpoints with image towers in both layouts,
GGUF of each family in several tensor types, packed integers, weights in memory.
Not asserted here: what each refuses (its unit tests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from exporter.checkpoints.gguf.source import GgufSource
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.interface import CheckpointSource
from exporter.models.text.spec import Role
from tests.holding_source import dequantised
from tests.tiny import TINY_CONFIGS, RandomSource
from tests.tiny_towers import TINY_TOWERS
from tests.unit.exporter.checkpoints.multimodal_checkpoints import KINDS, Layout, write_multimodal
from tests.unit.exporter.checkpoints.packed_checkpoints import write_packed
from tests.unit.exporter.checkpoints.written_checkpoints import (
    as_stored,
    tiny_source,
    write_huggingface,
)
from tests.unit.exporter.checkpoints.written_gguf import (
    TINY_AS_GGUF,
    as_gguf,
    gguf_kind,
    tiny_architecture,
    write_gguf,
)

Values = Mapping[str, NDArray[np.float32]]
Made = tuple[CheckpointSource, Values, RandomSource]
"""A source, the values it must give, and the weights it was written from."""
BLOCKS = ("Q8_0", "Q4_0", "Q5_0", "Q4_1", "Q5_1", "BF16", "F16", "F32")


def single_file(directory: Path) -> Made:
    random = tiny_source()
    source = HuggingFaceSource.open(write_huggingface(random, directory))
    return source, as_bf16(random), random


def as_bf16(random: RandomSource) -> Values:
    return {name: as_stored(values, "BF16") for name, values in random.weights.items()}


def with_towers(family: str, layout: Layout) -> Callable[[Path], Made]:
    def make(directory: Path) -> Made:
        random = write_multimodal(directory, family, layout)
        tower = TINY_TOWERS[KINDS[family]]()
        seen = {name: values.numpy() for name, values in tower.weights.items()}
        return HuggingFaceSource.open(directory), {**as_bf16(random), **seen}, random

    make.__name__ = f"{family}_{layout}"
    return make


def packed(directory: Path) -> Made:
    written = write_packed(directory)
    expected = {name: values.numpy() for name, values in written.values.items()}
    return HuggingFaceSource.open(directory), expected, written.source


def sharded(directory: Path) -> Made:
    random, dtypes = tiny_source(), ("F16", "F32", "BF16")
    source = HuggingFaceSource.open(write_huggingface(random, directory, shards=4, dtypes=dtypes))
    expected = {
        name: as_stored(values, dtypes[i % 3]) for i, (name, values) in enumerate(random.weights.items())
    }
    return source, expected, random


def gguf_of(family: str) -> Callable[[Path], Made]:
    def make(directory: Path) -> Made:
        random = RandomSource(TINY_CONFIGS[family]())
        path = write_gguf(random, directory / "tiny.gguf", kinds=BLOCKS)
        source = GgufSource.open(path, known=(tiny_architecture(random.architecture),))
        expected = {}
        text = random.components["text"]
        added = np.float32(1 if text.spec.norm_adds_one else 0)
        for weight in text.weights:
            values = random.weights[weight.name]
            if weight.is_matrix:
                values = as_gguf(values, gguf_kind(random, weight.name, BLOCKS))
            elif weight.role is Role.NORM:
                values = (values + added) - added
            expected[weight.name] = values
        return source, expected, random

    make.__name__ = f"gguf_of_{family.lower().replace(' ', '_')}"
    return make


def in_memory(directory: Path) -> Made:
    random = tiny_source()
    return random, random.weights, random


SOURCES = [
    single_file,
    sharded,
    packed,
    with_towers("gemma3", "outer"),
    with_towers("gemma3", "inner"),
    with_towers("gemma4", "outer"),
    with_towers("gemma4", "inner"),
    with_towers("gemma4_unified", "outer"),
    with_towers("gemma4_unified", "inner"),
    *map(gguf_of, TINY_AS_GGUF),
    in_memory,
]


@pytest.fixture(scope="module", params=SOURCES, ids=lambda make: make.__name__)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    make: Callable[[Path], Made] = request.param
    return make(tmp_path_factory.mktemp(make.__name__))


def test_its_tensors_are_the_weights_of_its_components_in_order_each_of_one(made: Made) -> None:
    source, _, _ = made
    weights = [weight for component in source.components.values() for weight in component.weights]
    assert [(t.name, t.shape) for t in source.tensors.values()] == [(w.name, w.shape) for w in weights]
    assert all(name == tensor.name for name, tensor in source.tensors.items())
    assert all(tensor.nbytes > 0 for tensor in source.tensors.values())


def test_its_components_are_named_as_they_name_themselves_and_have_weights(made: Made) -> None:
    source, _, _ = made
    assert "text" in source.components
    assert all(name == component.name for name, component in source.components.items())
    assert all(component.weights for component in source.components.values())


def test_it_gives_the_stored_values_exactly(made: Made) -> None:
    source, expected, _ = made
    for name, values in expected.items():
        rows = source.rows(name, 0, values.shape[0])
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, values, err_msg=name)


def test_what_it_holds_as_codes_are_its_values_taken_apart(made: Made) -> None:
    source, expected, _ = made
    shapes = {weight.name: weight.shape for weight in source.components["text"].weights if weight.is_matrix}
    assert set(source.held) <= set(shapes)
    for name, held in source.held.items():
        codes, scales = source.codes(name, 3, 17)
        inputs = shapes[name][1]
        assert codes.shape == (14, inputs)
        assert scales.shape == (14, 1 if held.group is None else inputs // held.group)
        assert scales.dtype == (np.float16 if held.scale_bits == 16 else np.float32)
        assert codes.dtype == np.int8
        assert -(2 ** (held.bits - 1)) <= codes.min() <= codes.max() < 2 ** (held.bits - 1)
        np.testing.assert_array_equal(dequantised(codes, scales), expected[name][3:17], err_msg=name)
        assert held.negative or (scales >= 0).all()


def test_only_types_that_are_codes_times_scales_are_held(made: Made) -> None:
    source, _, _ = made
    exact = {"Q4_0", "Q5_0", "Q8_0", "Q6_K", "int4 pack-quantized", "int8 pack-quantized"}
    matrices = [weight.name for weight in source.components["text"].weights if weight.is_matrix]
    assert set(source.held) == {name for name in matrices if source.tensors[name].dtype in exact}


def test_norms_come_as_transformers_keeps_them(made: Made) -> None:
    source, _, written = made
    norms = [weight.name for weight in source.components["text"].weights if not weight.is_matrix]
    assert norms
    for name in norms:
        values = written.weights[name][:8]  # of a layer's scalar there is only one
        np.testing.assert_allclose(source.rows(name, 0, len(values)), values, atol=0.01, err_msg=name)


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.norm.weight"])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (3, 17), (63, 64)])
def test_any_range_of_rows_is_that_part_of_the_whole(made: Made, name: str, start: int, stop: int) -> None:
    source, expected, _ = made
    np.testing.assert_array_equal(source.rows(name, start, stop), expected[name][start:stop])


def test_its_digests_stay_the_same(made: Made) -> None:
    source, _, _ = made
    assert source.digests()
    assert source.digests() == source.digests()


def test_its_tokenizer_encodes_and_decodes_text(made: Made, tmp_path: Path) -> None:
    source, _, _ = made
    source.write_tokenizer(tmp_path)
    assert (tmp_path / "tokenizer_config.json").is_file()
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = tokenizer.encode("héllo\tworld", add_special_tokens=False).ids
    assert tokenizer.decode(ids) == "héllo\tworld"
    assert max(ids) < source.components["text"].spec.vocab_size


def test_its_special_tokens_are_in_the_vocabulary(made: Made) -> None:
    source, _, _ = made
    tokens = source.tokens
    ids = [tokens.bos_token, tokens.eos_token, tokens.pad_token, *tokens.stop_tokens]
    assert all(0 <= token < source.components["text"].spec.vocab_size for token in ids)
    assert tokens.stop_tokens[0] == tokens.eos_token
    assert len(set(tokens.stop_tokens)) == len(tokens.stop_tokens)


def test_its_name_can_be_part_of_a_file_name(made: Made) -> None:
    source, _, _ = made
    assert source.name
    assert Path(source.name).name == source.name
