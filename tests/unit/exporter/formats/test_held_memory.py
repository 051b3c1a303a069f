"""What each runtime says it holds, against what was measured of its driver, and how metrics count it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.formats.family import RuntimeFamily
from exporter.formats.held_memory import COUNTED, HeldMemory, OpenedModel, counted
from exporter.formats.table import FAMILIES, facts_of, family_of
from exporter.models.published import published_spec
from exporter.planning.measured_memory import MEGABYTE, MOST_OFF, MeasuredMemory, measured_memory
from runtimes.formats import Format


def opened(model: str, layers: int, recipe: str, context: int, format: Format) -> OpenedModel:
    return MeasuredMemory(model, layers, recipe, context, format, 1, 1).opened()


@pytest.mark.parametrize("row", measured_memory(), ids=lambda row: "-".join(map(str, row.what)))
def test_predicted_peaks_are_near_those_measured(row: MeasuredMemory) -> None:
    held = family_of(row.format).holds(row.opened())
    anonymous = sum(counted(held, "phys_footprint").values())
    assert abs(row.off) < MOST_OFF
    assert anonymous == pytest.approx(row.anonymous_mb * MEGABYTE, rel=MOST_OFF)


def test_a_metric_counts_the_places_it_sees_and_adds_components_of_one_name() -> None:
    held = (
        HeldMemory("weights", 1, "file"),
        HeldMemory("weights", 2, "private"),
        HeldMemory("KV cache", 4, "gpu"),
        HeldMemory("nothing", 0, "private"),
        HeldMemory("tower", 8, "any"),
    )
    assert counted(held, "ru_maxrss") == {"weights": 3, "KV cache": 4, "tower": 8}
    assert counted(held, "phys_footprint") == {"weights": 2, "KV cache": 4, "tower": 8}
    assert counted(held, "gpu_memory") == {"KV cache": 4, "tower": 8}
    assert counted(held, "wasm_memory") == {"weights": 3, "KV cache": 4, "tower": 8}
    assert set().union(*COUNTED.values()) == {"file", "private", "gpu", "any"}


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


@pytest.mark.parametrize("model", ["gemma-3-1b", "gemma-4-e2b"])
def test_a_page_reads_one_data_file_or_two_with_a_tied_embedding_in_both(model: str) -> None:
    read_whole = facts_of("onnx-web").read_whole
    assert read_whole is not None
    text = opened(model, len(published_spec(model).layers), "int8", 1024, "onnx-web")
    (alone,) = read_whole(text).values()
    assert alone == pytest.approx(family_of("onnx-web").written(text), rel=1e-3), "but for the graph"
    embedding, decoder = read_whole(replace(text, rows=True)).values()
    (tied,) = (each for each in text.tables if each in text.multiplied)
    stored, once = text.stored(tied), embedding + decoder - alone
    assert stored <= once < 1.1 * stored, "with scales for each block"
    assert (embedding > decoder) is (model == "gemma-4-e2b"), "whose second table is the most of it"


@pytest.mark.parametrize("model", ["gemma-3-1b", "gemma-4-e2b"])
def test_what_lies_in_two_data_files_of_a_page_is_counted_twice_in_memory_and_on_disk(model: str) -> None:
    web = family_of("onnx-web")
    text = opened(model, len(published_spec(model).layers), "int8", 1024, "onnx-web")
    seeing = replace(text, rows=True)
    files = facts_of("onnx-web").read_whole
    assert files is not None
    twice = sum(files(seeing).values()) - sum(files(text).values())
    assert twice > 0
    assert web.written(seeing) - web.written(text) == twice
    held = [counted(web.holds(each), "wasm_memory")["weights"] for each in (text, seeing)]
    assert held[1] - held[0] == twice
    onnx = replace(seeing, format="onnx")
    assert web.written(onnx) == web.written(replace(onnx, rows=False)), "one data file that both map"


def test_what_is_mapped_or_read_in_parts_is_read_whole_by_nobody() -> None:
    formats = [each for family in FAMILIES.values() for each in family.formats]
    assert [each for each in formats if facts_of(each).read_whole] == ["onnx-web"]
