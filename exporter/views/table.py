"""`Table`: rows of words under columns, as every view that has tables shows them.

Not about markup or escaping, which each view does in its own way, nor about what is in them
(`answer_tables`, `detail_tables`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mark = Literal["passed", "executed", "failed", "skipped", "none"]
"""What a row is about: a verdict, a path that was executed, or neither."""


@dataclass(frozen=True)
class Column:
    """number: set flush right. name: the first column's may be empty."""

    name: str
    number: bool = False


@dataclass(frozen=True)
class Row:
    """As many cells as its table has columns. word: what the mark says here, its own name where empty."""

    cells: tuple[str, ...]
    mark: Mark = "none"
    word: str = ""

    @property
    def verdict(self) -> str:
        return self.word or ("" if self.mark == "none" else self.mark)


@dataclass(frozen=True)
class Table:
    """marked: rows have marks, which are shown beside them."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    marked: bool = False


def columns(words: tuple[str, ...], numbers: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """Columns of words, and after them those of figures."""
    return (*(Column(name) for name in words), *(Column(name, number=True) for name in numbers))
