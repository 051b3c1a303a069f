"""`print_fitted`: a rich table that breaks no word, whatever the width of the terminal.

rich makes columns narrower until a table fits, in the middle of words where need be. Here every column gets
at least its longest word, one of figures its longest figure with its unit where there is room for that, and
where the words alone are too much for the terminal each row becomes a paragraph. Not about what is in a
table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

INDENT, BETWEEN = "  ", "; "


@dataclass(frozen=True)
class _Column:
    """whole: its cells are never broken. figures: they are, where there is no other way."""

    head: Text
    cells: tuple[Text, ...]
    whole: bool
    figures: bool

    @property
    def most(self) -> int:
        return max(map(_longest_line, (self.head, *self.cells)))

    def least(self, *, figures_whole: bool) -> int:
        whole = self.whole or (self.figures and figures_whole)
        cells = map(_longest_line if whole else _longest_word, self.cells)
        return max(_longest_word(self.head), *cells, 0)


def print_fitted(table: Table, console: Console) -> None:
    """Print it: as a table where its words have room beside each other, else row by row."""
    columns = [
        _Column(
            _text(each.header),
            tuple(map(_text, each.cells)),
            whole=each.no_wrap,
            figures=each.justify == "right",
        )
        for each in table.columns
    ]
    room = console.width - _around(table, console)
    for figures_whole in (True, False):
        least = [each.least(figures_whole=figures_whole) for each in columns]
        if sum(least) <= room:
            widths = shared_out(least, [each.most for each in columns], room)
            for column, width in zip(table.columns, widths, strict=True):
                column.width = width
            console.print(table)
            return
    _print_rows(table, columns, console)


def shared_out(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """Widths from the least to the most a column has use for, together no more than the room: the
    narrowest columns are widened first."""
    widths = list(least)
    left = room - sum(widths)
    while left > 0 and (growing := [at for at, width in enumerate(widths) if width < most[at]]):
        narrowest = min(growing, key=lambda at: widths[at])
        widths[narrowest] += 1
        left -= 1
    return widths


def _around(table: Table, console: Console) -> int:
    """Characters of a line that are no column's: padding and edges."""
    empty = Table(box=table.box, padding=table.padding, show_edge=table.show_edge)
    for _ in table.columns:
        empty.add_column(width=1)
    return Measurement.get(console, console.options, empty).minimum - len(table.columns)


def _print_rows(table: Table, columns: Sequence[_Column], console: Console) -> None:
    """Each row as a paragraph: its first cell, and below it the others with their columns' names, as many
    on a line as have room. What is empty is left out."""
    if table.title is not None:
        console.print(_text(table.title), style="italic")
    for first, *others in zip_longest(*(each.cells for each in columns), fillvalue=Text()):
        if first.plain:
            console.print(first)
        pieces = [
            Text.assemble(column.head, " " if column.head.plain else "", cell)
            for column, cell in zip(columns[1:], others, strict=True)
            if cell.plain
        ]
        for line in _packed(pieces, console.width - len(INDENT)):
            console.print(Text.assemble(INDENT, line))
    console.print()


def _packed(pieces: Sequence[Text], width: int) -> Iterator[Text]:
    """Lines of whole pieces; one that is longer than a line is on lines of its own."""
    line = Text()
    for piece in pieces:
        if line.plain and len(line) + len(BETWEEN) + len(piece) > width:
            yield line
            line = Text()
        line = Text.assemble(line, BETWEEN, piece) if line.plain else piece
    if line.plain:
        yield line


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def _longest_word(text: Text) -> int:
    return max((len(word) for word in text.plain.split()), default=0)


def _longest_line(text: Text) -> int:
    return max((len(line) for line in text.plain.splitlines()), default=0)
