"""A report in the terminal, short: the verdict and the devices first, five figures, what does not hold,
what was run, what was not checked. Everything else is in report.html.

Prints to the console it is given; the CLI owns that console and the exit code.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from exporter.validation.report import GreedyRun, ValidationReport
from exporter.validation.verdict import Passed
from exporter.views.answer import (
    device_sentences,
    device_table,
    failures,
    fit_sentences,
    key_figures,
)
from exporter.views.detail_tables import run_table
from exporter.views.fitted_table import print_fitted
from exporter.views.image_wording import image_sentences, tower_sentences
from exporter.views.path_wording import path_sentences
from exporter.views.short_names import ShortNames, short_names
from exporter.views.table import Row, Table
from exporter.views.wording import (
    checkpoint_sentences,
    gates_by_kind,
    greedy_sentence,
    headline,
    not_checked_sentences,
    one_line,
    visible,
    weight_sentences,
)

_STYLES = {
    "passed": "green",
    "executed": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "inconclusive": "yellow",
    "none": "",
}


def print_report(report: ValidationReport, console: Console) -> None:
    """Print it. Text from models and files is never taken for markup."""
    names, outcome = short_names(report), report.outcome
    what = f"{report.model}, recipe {report.recipe}, target {report.target}"
    console.print(Text(one_line(what), "bold"))
    console.print(
        Text.assemble(
            (f"{outcome.upper()} ", _STYLES[outcome]), " ".join((headline(report), *fit_sentences(report)))
        )
    )
    for mark, sentence in failures(report, names):
        console.print(Text(f"  · {sentence}", _STYLES[mark]))
    for sentence in path_sentences(report):
        console.print(Text(one_line(sentence)))
    print_table(device_table(report), "Devices", console)
    for sentence in device_sentences(report):
        console.print(Text(one_line(sentence)))
    for figure in key_figures(report, names):
        words = (f"{figure.title:<26}", (figure.value, _STYLES[figure.mark]), f"  {figure.note}")
        console.print(Text.assemble(*words))
    console.print(Text(_held(report)))
    print_table(run_table(report, names), "Artifacts that were run", console)
    for greedy, artifacts in _continuations(report, names):
        console.print(
            Text.assemble(
                (f"{', '.join(artifacts)}: ", "bold"),
                (f"{greedy_sentence(greedy)} ", "dim"),
                visible(greedy.prompt),
                (visible(greedy.text), "cyan"),
            )
        )
    for sentence in (*image_sentences(report), *tower_sentences(report)):
        console.print(Text(one_line(names.sentence(sentence))))
    for sentence in (*checkpoint_sentences(report), *weight_sentences(report)):
        console.print(Text(one_line(sentence)))
    console.print(Text("Not checked:", "bold"))
    for each in not_checked_sentences(report):
        console.print(Text(f"  · {one_line(names.sentence(each))}"))


def _continuations(report: ValidationReport, names: ShortNames) -> Iterator[tuple[GreedyRun, list[str]]]:
    """What was written after a prompt, once for all artifacts that wrote the same."""
    found: dict[GreedyRun, dict[str, None]] = {}
    for run in report.runs:
        for greedy in run.greedy:
            found.setdefault(greedy, {})[names.artifact(run.artifact)] = None
    yield from ((greedy, list(artifacts)) for greedy, artifacts in found.items())


def _held(report: ValidationReport) -> str:
    """Gates that hold, by kind: those that do not were named above."""

    def counted() -> Iterator[str]:
        for kind, gates in gates_by_kind(report):
            held = sum(isinstance(gate.verdict, Passed) for gate in gates)
            yield f"{kind} {held} of {len(gates)}"

    return f"Gates by kind: {', '.join(counted()) or 'there is none'}."


def print_table(table: Table, title: str, console: Console) -> None:
    """Nothing where it has no rows."""
    if not table.rows:
        return
    shown = Shown(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in table.columns:
        shown.add_column(column.name, justify="right" if column.number else "left")
    if table.marked:
        shown.add_column("Verdict")
    for row in table.rows:
        shown.add_row(*_cells(row, table.marked))
    print_fitted(shown, console)


def _cells(row: Row, marked: bool) -> list[Text]:
    cells = [Text(one_line(cell)) for cell in row.cells]
    return [*cells, Text(row.verdict, _STYLES[row.mark])] if marked else cells
