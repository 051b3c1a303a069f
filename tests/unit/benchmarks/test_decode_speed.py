"""The planner's intervals are those fitted to the published rows, and rows outside them are told."""

from __future__ import annotations

import pytest

from benchmarks.decode_speed import fitted, main, published
from exporter.planning.decode_speed import EFFICIENCY
from exporter.views.answer import SPEEDS_OFF


def test_intervals_are_fitted_and_not_written_by_hand() -> None:
    assert {accelerator: fitted(accelerator) for accelerator in EFFICIENCY} == EFFICIENCY


def test_most_rows_lie_within_a_tenth_of_their_interval_and_none_is_far_off() -> None:
    off = [abs(row.off()) for row in published()]
    assert sum(each < 0.11 for each in off) >= 0.9 * len(off)
    assert 0 < max(off) < 0.35


def test_the_sentence_of_reports_is_what_the_rows_come_to() -> None:
    off = [row.off() for row in published()]
    near = sum(abs(each) < 0.105 for each in off)
    (far,) = (each for each in off if abs(each) >= 0.105)
    assert (
        f"Of {len(off)} published decode speeds {near} lie within a tenth of such an interval, one a third "
        "below it."
    ) == SPEEDS_OFF
    assert -0.36 < far < -0.30


def test_every_row_is_printed_with_how_far_off_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == len(published())
    assert any("within" in line for line in lines)
    assert any("-3" in line or "+1" in line for line in lines)
