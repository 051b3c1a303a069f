"""Tables in terminals of any width: no word is broken, and what has no room is a paragraph."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from exporter.views.fitted_table import print_fitted, shared_out

HEADS = ("Release", "Artifact", "Mean KL", "Added memory", "Verdict")
ROWS = (
    ("gemma-3-270m-int8", "coreml/model.mlpackage", "0.0171", "1,050.0 MB", "fits with entitlement"),
    ("two", "onnx/model.onnx", "not a number", "12.0 MB", "does not fit"),
)


def printed(width: int) -> str:
    table = Table(title="Their artifacts")
    for name in HEADS:
        table.add_column(name, justify="right" if name in ("Mean KL", "Added memory") else "left")
    for row in ROWS:
        table.add_row(*row)
    out = io.StringIO()
    print_fitted(table, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", range(24, 140, 7))
def test_no_word_is_broken_at_any_width(width: int) -> None:
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    words = {word for row in (HEADS[1:], *ROWS) for cell in row for word in cell.split()}
    assert words - set(text.replace("│", " ").replace("┃", " ").replace(";", " ").split()) == set()


def test_figures_keep_their_units_where_there_is_room_for_that() -> None:
    assert "1,050.0 MB" in printed(96)
    assert "┃" in printed(96)


def test_what_has_no_room_beside_each_other_is_a_paragraph_for_each_row() -> None:
    text = printed(44)
    assert "┃" not in text
    assert "Mean KL 0.0171; Added memory 1,050.0 MB" in text
    assert [line for line in text.splitlines() if not line.startswith(" ") and line.strip()] == [
        "Their artifacts", "gemma-3-270m-int8", "two",
    ]  # fmt: skip


COLUMNS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), min_size=1, max_size=8)


@given(COLUMNS, st.integers(0, 99))
def test_columns_get_what_they_need_and_no_more_than_they_use(
    columns: list[tuple[int, int]], more: int
) -> None:
    least = [width for width, _ in columns]
    most = [width + spare for width, spare in columns]
    room = sum(least) + more
    widths = shared_out(least, most, room)
    assert all(low <= width <= high for low, width, high in zip(least, widths, most, strict=True))
    assert sum(widths) == min(room, sum(most))
