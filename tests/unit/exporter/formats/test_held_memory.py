"""What each runtime says it holds, against what was measured of its driver, and how metrics count it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.formats.family import RuntimeFamily
from exporter.formats.held_memory import COUNTED, HeldMemory, OpenedModel, counted
from exporter.formats.table import FAMILIES, family_of
from exporter.models.published import published_config
from exporter.models.text.families import read_spec
from exporter.planning.estimates import cache_size
from exporter.planning.recipe import load_recipe
from runtimes.formats import Format

MIB = 1 << 20
MOST_OFF = 0.15

# Peaks in MiB, total and anonymous, of the driver with its caches filled: (model, its first layers, recipe,
# context, format). Printed by benchmarks/memory.py for the 270M; the others are of random weights.
MEASURED = {
    ("gemma-3-270m", 18, "int8", 1024, "litertlm"): (700, 340),
    ("gemma-3-270m", 18, "int8", 4096, "litertlm"): (820, 377),
    ("gemma-3-270m", 18, "int4", 1024, "litertlm"): (596, 274),
    ("gemma-3-270m", 18, "int4", 4096, "litertlm"): (714, 310),
    ("gemma-3-270m", 18, "int8", 1024, "onnx"): (557, 355),
    ("gemma-3-270m", 18, "int8", 4096, "onnx"): (681, 464),
    ("gemma-3-270m", 18, "int4", 1024, "onnx"): (533, 322),
    ("gemma-3-270m", 18, "int4", 4096, "onnx"): (656, 432),
    ("gemma-2-2b", 4, "int4", 1024, "litertlm"): (1521, 665),
    ("gemma-2-2b", 4, "int8", 4096, "litertlm"): (1966, 846),
    ("gemma-2-2b", 4, "int4", 1024, "onnx"): (1533, 927),
    ("gemma-2-2b", 4, "int8", 4096, "onnx"): (1539, 1105),
    ("gemma-3-1b", 6, "int8", 4096, "litertlm"): (1088, 424),
    ("gemma-3-1b", 6, "int4", 1024, "litertlm"): (849, 360),
    ("gemma-3-1b", 6, "int8", 4096, "onnx"): (905, 588),
    ("gemma-3-1b", 6, "int4", 1024, "onnx"): (823, 484),
}


def opened(model: str, layers: int, recipe: str, context: int, format: Format) -> OpenedModel:
    config = {**published_config(model), "num_hidden_layers": layers}
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"][:layers]
    spec, family = read_spec(config, model), family_of(format)
    return OpenedModel(
        spec=spec,
        schemes=load_recipe(recipe).schemes(spec),
        format=format,
        accelerator="CPU",
        context=context,
        prefill_chunk=128,
        cache_bytes=cache_size(spec, context, 128, family).bytes,
        text_bytes=0,
        with_tokenizer=False,
    )


@pytest.mark.parametrize(("case", "peaks"), MEASURED.items(), ids=map(str, MEASURED))
def test_predicted_peaks_are_near_those_measured(
    case: tuple[str, int, str, int, Format], peaks: tuple[int, int]
) -> None:
    model = opened(*case)
    held = family_of(model.format).holds(model)
    total, anonymous = peaks
    assert sum(counted(held, "ru_maxrss").values()) / MIB == pytest.approx(total, rel=MOST_OFF)
    assert sum(counted(held, "phys_footprint").values()) / MIB == pytest.approx(anonymous, rel=MOST_OFF)


def test_a_metric_counts_the_places_it_sees_and_adds_components_of_one_name() -> None:
    held = (
        HeldMemory("weights", 1, "file"),
        HeldMemory("weights", 2, "private"),
        HeldMemory("KV cache", 4, "gpu"),
        HeldMemory("nothing", 0, "private"),
    )
    assert counted(held, "ru_maxrss") == {"weights": 3, "KV cache": 4}
    assert counted(held, "phys_footprint") == {"weights": 2, "KV cache": 4}
    assert counted(held, "gpu_memory") == {"KV cache": 4}
    assert counted(held, "wasm_memory") == {"weights": 3}
    assert set().union(*COUNTED.values()) == {"file", "private", "gpu"}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_accelerator_of_a_runtime_holds_weights_and_cache(family: RuntimeFamily) -> None:
    for format in family.formats:
        model = replace(opened("gemma-3-270m", 18, "int8", 1024, format), with_tokenizer=True)
        weights = sum(model.stored(each) for each in model.multiplied)
        for accelerator in family.accelerators:
            held = family.holds(replace(model, accelerator=accelerator))
            found = counted(held, "ru_maxrss")
            assert sum(count for name, count in found.items() if name.startswith("weights")) >= weights
            assert found["KV cache"] >= model.cache_bytes
            assert ("tokenizer" in found) == (format != "onnx-web"), "JavaScript holds that"


# Sizes of what was written of the 270M, bytes.
WRITTEN: dict[tuple[str, int, Format], int] = {
    ("int8", 1024, "onnx"): 280_024_699,
    ("int8", 4096, "onnx"): 286_316_159,
    ("int4", 1024, "onnx"): 239_754_575,
    ("int8", 1024, "litertlm"): 285_324_416,
    ("int4", 4096, "litertlm"): 244_686_720,
    ("int8", 1024, "onnx-web"): 287_724_819,
}


@pytest.mark.parametrize(("case", "size"), WRITTEN.items(), ids=map(str, WRITTEN))
def test_predicted_sizes_are_near_those_written(case: tuple[str, int, Format], size: int) -> None:
    recipe, context, format = case
    model = replace(opened("gemma-3-270m", 18, recipe, context, format), text_bytes=16_030_113)
    assert family_of(format).written(model) == pytest.approx(size, rel=0.04)
