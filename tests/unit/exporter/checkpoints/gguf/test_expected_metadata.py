"""What real files and llama.cpp's converter state agrees with the table; anything else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.checkpoints.gguf.architectures import ARCHITECTURES, GgufArchitecture, recognise
from exporter.checkpoints.gguf.expected_metadata import PerLayer, agrees
from exporter.checkpoints.gguf.file import GgufFile, MetadataValue
from exporter.errors import SpecError
from exporter.models.published import published_config, published_ids
from exporter.models.text.families import read_spec
from exporter.models.text.spec import ModelSpec
from tests.unit.exporter.checkpoints.real_gguf_files import REAL_FILES, TENSOR_COUNTS
from tests.unit.exporter.checkpoints.written_gguf import (
    TINY_AS_GGUF,
    converted_metadata,
    family_of,
    rope_factors,
    tiny_architecture,
)

BY_NAME = {entry.name: entry for entry in ARCHITECTURES}
SIZE = ("block_count", "embedding_length")
OWN_BY_FAMILY = {
    "gemma2": {"attn_logit_softcapping", "final_logit_softcapping"},
    "gemma4": {
        "final_logit_softcapping",
        "attention.key_length_swa",
        "attention.value_length_swa",
        "attention.shared_kv_layers",
        "rope.dimension_count_swa",
        "embedding_length_per_layer_input",
    },
}


def as_read(value: Any) -> MetadataValue:
    """A value as `GgufFile` has it: arrays of numbers are numpy's."""
    if isinstance(value, list):
        return np.array(value, np.bool_ if isinstance(value[0], bool) else np.int32)
    read: MetadataValue = value
    return read


def header(family: str, metadata: dict[str, Any]) -> GgufFile:
    """A file's header alone."""
    read = {key: as_read(value) for key, value in metadata.items()}
    return GgufFile(Path("model.gguf"), {"general.architecture": family, **read}, {})


def wrong(value: Any) -> Any:
    """A value of the same type that is another."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 1.01
        case str():
            return "yarn"
    return [*value[:-1], wrong(value[-1])]


def spelled(value: Any) -> Any:
    """A stated value as a file would have it, arrays in full."""
    return list(value.values) if isinstance(value, PerLayer) else value


def spec_of(entry: GgufArchitecture) -> ModelSpec:
    return read_spec(entry.config, entry.name)


def test_every_published_model_is_in_the_table() -> None:
    assert tuple(BY_NAME) == published_ids()


@pytest.mark.parametrize("name", BY_NAME)
def test_what_the_converter_states_of_a_published_model_is_recognised(name: str) -> None:
    config = published_config(name)
    found = recognise(header(family_of(config), converted_metadata(config)), ARCHITECTURES)
    assert found.name == name
    assert found.config == config


@pytest.mark.parametrize("file", REAL_FILES)
def test_what_a_real_file_states_agrees_with_the_table(file: str) -> None:
    name, keys = REAL_FILES[file]
    entry = BY_NAME[name]
    assert keys
    for key, value in keys.items():
        assert agrees(as_read(value), entry.stated[f"{entry.prefix}.{key}"]), key


@pytest.mark.parametrize("file", [name for name, (_, keys) in REAL_FILES.items() if {*SIZE} <= {*keys}])
def test_a_real_file_is_recognised(file: str) -> None:
    name, keys = REAL_FILES[file]
    family = BY_NAME[name].prefix
    found = recognise(header(family, {f"{family}.{k}": v for k, v in keys.items()}), ARCHITECTURES)
    assert found.name == name


@pytest.mark.parametrize("file", REAL_FILES)
def test_the_tests_converter_states_what_real_files_state(file: str) -> None:
    name, keys = REAL_FILES[file]
    config = published_config(name)
    converted = converted_metadata(config)
    family = family_of(config)
    assert {f"{family}.{key}": value for key, value in keys.items()}.items() <= converted.items()


@pytest.mark.parametrize("name", TENSOR_COUNTS)
def test_the_spec_has_as_many_tensors_as_the_real_file(name: str) -> None:
    entry = BY_NAME[name]
    spec = spec_of(entry)
    unused = 3 * sum(not layer.owns_cache for layer in spec.layers)
    assert len(spec.weights()) + len(rope_factors(entry.config)) + unused == TENSOR_COUNTS[name]


def test_numbers_that_metadata_does_not_have_come_from_the_table() -> None:
    """Gemma 3 27B's query scale, and the layers' kinds and the second RoPE of every Gemma 3."""
    config = published_config("gemma-3-27b")
    stated = converted_metadata(config)
    del stated["gemma3.rope.freq_base_swa"]  # older files leave it out
    spec = spec_of(recognise(header("gemma3", stated), ARCHITECTURES))
    assert spec.query_scale == 168**-0.5
    assert [layer.index for layer in spec.layers if layer.window is None][:2] == [5, 11]
    assert {layer.rope.theta for layer in spec.layers} == {1e4, 1e6}
    assert {layer.rope.linear_factor for layer in spec.layers if layer.window is None} == {8.0}


@pytest.mark.parametrize("family", TINY_AS_GGUF)
def test_a_wrong_value_is_refused_by_its_key_whichever_it_is(family: str) -> None:
    config = TINY_AS_GGUF[family]()
    entry = tiny_architecture(config)
    good = converted_metadata(config)
    recognise(header(entry.prefix, good), (entry,))
    checked = [key for key in entry.stated if key.partition(".")[2] not in SIZE]
    assert {key.partition(".")[2] for key in checked} >= OWN_BY_FAMILY.get(entry.prefix, set())
    assert {*good} - {*checked} == {f"{entry.prefix}.{key}" for key in SIZE}
    for key in checked:
        value = spelled(entry.stated[key])
        recognise(header(entry.prefix, {**good, key: value}), (entry,))
        if key == f"{entry.prefix}.expert_count" and entry.prefix == "gemma4":
            continue  # refused by the model's name
        if key.endswith(".context_length"):
            continue  # the file's own is taken
        with pytest.raises(SpecError, match="tiny-gemma has") as caught:
            recognise(header(entry.prefix, {**good, key: wrong(value)}), (entry,))
        assert caught.value.where == f"model.gguf: {key}"
        assert caught.value.then


@pytest.mark.parametrize("family", TINY_AS_GGUF)
@pytest.mark.parametrize("key", SIZE)
def test_another_size_is_another_model(family: str, key: str) -> None:
    config = TINY_AS_GGUF[family]()
    entry = tiny_architecture(config)
    good = converted_metadata(config)
    key = f"{entry.prefix}.{key}"
    with pytest.raises(SpecError, match="is not a model known as GGUF"):
        recognise(header(entry.prefix, {**good, key: good[key] + 1}), (entry,))


@pytest.mark.parametrize("family", TINY_AS_GGUF)
def test_fewer_keys_are_enough(family: str) -> None:
    entry = tiny_architecture(TINY_AS_GGUF[family]())
    good = converted_metadata(entry.config)
    fewest = {key: value for key, value in good.items() if key.partition(".")[2] in SIZE}
    assert recognise(header(entry.prefix, fewest), (entry,)) == entry


@pytest.mark.parametrize("family", TINY_AS_GGUF)
def test_a_key_of_another_family_is_refused(family: str) -> None:
    entry = tiny_architecture(TINY_AS_GGUF[family]())
    foreign = f"{entry.prefix}.attention.max_alibi_bias"
    with pytest.raises(SpecError, match="may change what it computes") as caught:
        recognise(header(entry.prefix, {**converted_metadata(entry.config), foreign: 8.0}), (entry,))
    assert caught.value.where == f"model.gguf: {foreign}"


@pytest.mark.parametrize("family", ["Gemma 1", "Gemma 3", "Gemma 4 E2B", "Gemma 4 12B"])
def test_soft_caps_a_family_does_not_have_are_refused(family: str) -> None:
    entry = tiny_architecture(TINY_AS_GGUF[family]())
    key = f"{entry.prefix}.attn_logit_softcapping"
    with pytest.raises(SpecError, match="may change what it computes"):
        recognise(header(entry.prefix, {**converted_metadata(entry.config), key: 50.0}), (entry,))


PATTERN = PerLayer((1, 1, 0, 1, 1, 0), period=3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([True, True, False] * 2), True),
        (np.array([1, 1, 0] * 2, np.uint32), True),
        (3, True),
        (np.array([True, True, False]), False),
        (np.array([1.0, 1.0, 0.0] * 2, np.float32), False),
        (2, False),
        (1, False),
        (True, False),
        (3.0, False),
    ],
)
def test_a_pattern_is_an_array_or_its_period(value: MetadataValue, expected: bool) -> None:
    assert agrees(value, PATTERN) is expected


@pytest.mark.parametrize(
    ("value", "expected"), [(8, True), (np.array([8, 8]), True), (np.array([8, 1]), False)]
)
def test_one_number_may_stand_for_all_layers(value: MetadataValue, expected: bool) -> None:
    assert agrees(value, PerLayer((8, 8))) is expected


def test_one_number_does_not_stand_for_layers_that_differ() -> None:
    assert not agrees(8, PerLayer((8, 1)))


def test_in_gemma4_one_number_is_no_period() -> None:
    entry = BY_NAME["gemma-4-12b"]
    assert not agrees(6, entry.stated["gemma4.attention.sliding_window_pattern"])
    assert agrees(6, BY_NAME["gemma-3-12b"].stated["gemma3.attention.sliding_window_pattern"])
