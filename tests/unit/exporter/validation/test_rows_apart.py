"""How far rows are said to be apart, where that is not plain division."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exporter.validation.rows_apart import UNKNOWN, rows_apart

ROWS = np.array([[3, 4], [0, 0], [0, 10]], np.float32)


def test_rows_that_are_nothing_have_no_direction_and_a_mean_length() -> None:
    assert rows_apart(ROWS, ROWS).relative == 0
    assert rows_apart(ROWS, ROWS).cosine == pytest.approx(1)
    stray = ROWS + np.array([[0, 0], [0, 1], [0, 0]], np.float32)
    assert rows_apart(ROWS, stray).relative == pytest.approx(1 / 5 / 3), "of rows 5 long on the mean"
    assert rows_apart(ROWS, stray).cosine == pytest.approx(1)


def test_nothing_where_something_is_due_is_no_number() -> None:
    found = rows_apart(ROWS, ROWS * 0)
    assert math.isnan(found.cosine)
    assert found.relative == pytest.approx(2 / 3)


def test_another_count_of_rows_and_rows_all_of_nothing_are_no_numbers() -> None:
    assert rows_apart(ROWS, ROWS[:2]) is UNKNOWN
    assert rows_apart(ROWS * 0, ROWS * 0) is UNKNOWN
