"""What reports say of predictions of memory is what the table of measured peaks comes to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from exporter.planning import measured_memory as table
from exporter.planning.measured_memory import (
    HEAD,
    TABLE,
    MeasuredMemory,
    Predicted,
    how_far_off,
    measured_memory,
    write_measured_memory,
)

CPU: Predicted = ("litertlm", "CPU", "ru_maxrss")
EXACT = MeasuredMemory("gemma-3-270m", 18, "int8", 1024, "litertlm", 1, 1)


def measured(off: float, **changes: object) -> MeasuredMemory:
    """A row of which the prediction is off by so much."""
    row = replace(EXACT, **changes)  # type: ignore[arg-type]  # any field
    return replace(row, total_mb=round(row.total_mb * (1 + row.off) / (1 + off)))


def test_the_sentence_says_the_worst_rows_of_the_runtimes_that_were_predicted() -> None:
    rows = (
        measured(0.013),
        measured(-0.021, context=4096),
        measured(0.081, model="gemma-2-2b", layers=4),
        measured(0.042, model="gemma-2-2b", layers=26),
        measured(-0.031, model="gemma-3-1b", layers=26),
        measured(0.305, format="onnx"),
    )
    phone: Predicted = ("coreml", "NPU", "phys_footprint")
    said = how_far_off([CPU, CPU, ("litertlm", "CPU", "phys_footprint"), phone], rows)
    assert said == (
        "On a PC under Linux such predictions of memory were, without the tokenizer, of LiteRT on the CPU "
        "within 3 % in 2 runs of gemma-3-270m (to which they are fitted), within 5 % in 2 runs of "
        "gemma-2-2b and gemma-3-1b and within 9 % in 1 run of the first layers of gemma-2-2b. "
        "Of Core ML on the NPU no memory was measured here."
    )
    assert "within 31 % in 1 run" in how_far_off([("onnx", "CPU", "ru_maxrss")], rows)


def test_a_browser_and_a_gpu_are_not_what_was_measured_on_a_cpu() -> None:
    said = how_far_off([("onnx-web", "CPU", "wasm_memory"), ("onnx", "GPU", "gpu_memory")])
    assert said == "Of ONNX in a browser and ONNX on the GPU no memory was measured here."


def test_the_table_that_ships_is_as_it_is_written_and_has_a_row_once(tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    again = replace(measured_memory()[0], total_mb=1)
    write_measured_memory((again, *measured_memory()), path)
    assert path.read_text(encoding="utf-8") == TABLE.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").startswith(HEAD)
    assert len({each.what for each in measured_memory()}) == len(measured_memory())
    assert table.FITTED_TO in {each.model for each in measured_memory()}
