"""A report in the terminal: the gates, the artifacts that were run, and the verdict last.

Prints to the console it is given; the CLI owns that console and the exit code.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.planning.estimates import CacheSize
from exporter.validation.report import Gate, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from exporter.views.path_wording import PATH_COLUMNS, path_rows, path_sentences
from exporter.views.wording import (
    bound,
    checkpoint_sentences,
    gates_by_kind,
    headline,
    not_checked_sentences,
    number,
    one_line,
    quantity,
    size,
    verdict_word,
    visible,
    weight_sentences,
)

_STYLES = {
    "passed": "green",
    "executed": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "inconclusive": "yellow",
}


def print_report(report: ValidationReport, console: Console) -> None:
    """Print tables and verdict. Text from models and files is never taken for markup."""
    console.print(_gates(report))
    if report.paths:
        console.print(_paths(report))
    if report.runs:
        console.print(_runs(report))
    for run in report.runs:
        for greedy in run.greedy:
            console.print(
                Text.assemble(
                    (f"{run.artifact} ", "bold"),
                    (f"({greedy.agreed} of {greedy.tokens} tokens as the reference) ", "dim"),
                    visible(greedy.prompt),
                    (visible(greedy.text), "cyan"),
                )
            )
    for sentence in (*checkpoint_sentences(report), *weight_sentences(report)):
        console.print(Text(one_line(sentence)))
    console.print(Text("Not checked:", "bold"))
    for each in not_checked_sentences(report):
        console.print(Text(f"  · {one_line(each)}"))
    for sentence in path_sentences(report):
        console.print(Text(one_line(sentence)))
    outcome = report.outcome
    console.print(Text.assemble((f"{outcome.upper()} ", _STYLES[outcome]), headline(report)))


def _gates(report: ValidationReport) -> Table:
    title = f"{report.model}, recipe {report.recipe}, target {report.target}"
    table = Table(title=Text(one_line(title)), title_justify="left", show_lines=False)
    for name in ("Comparison", "Artifact", "Statistic"):
        table.add_column(name, overflow="fold")
    for name in ("Measured", "Limit"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("Verdict")
    for kind, gates in gates_by_kind(report):
        for gate in gates:
            table.add_row(Text(kind), *_gate_cells(gate))
        table.add_section()
    return table


def _gate_cells(gate: Gate) -> tuple[Text, ...]:
    word = verdict_word(gate.verdict)
    match gate.verdict:
        case Skipped(reason):
            cells = (Text(one_line(reason)), Text("–"))
        case Passed(measured, _, unit) | Failed(measured, _, unit) as verdict:
            cells = (Text(quantity(measured, unit)), Text(bound(verdict)))
    statistic = f"{gate.subject}: {gate.statistic}"
    artifact = Text(one_line(gate.artifact or "–"))
    return (artifact, Text(one_line(statistic)), *cells, Text(word, _STYLES[word]))


def _paths(report: ValidationReport) -> Table:
    table = Table(title="Execution paths", title_justify="left")
    for name in PATH_COLUMNS:
        table.add_column(name, overflow="fold")
    for row in path_rows(report):
        words = (row.artifact, row.title, row.by, row.accelerated, row.mean_kl, row.top1)
        table.add_row(*(Text(one_line(each)) for each in words), style=_STYLES[row.what])
    return table


def _runs(report: ValidationReport) -> Table:
    table = Table(title="Artifacts that were run", title_justify="left")
    for name in ("Artifact", "Runtime", "Arithmetic"):
        table.add_column(name, overflow="fold")
    for name in ("Size", "KV cache", "Outside windows", "Prefill tok/s", "Decode tok/s"):
        table.add_column(name, justify="right")
    for run in report.runs:
        speeds = (run.prefill_tokens_per_second, run.decode_tokens_per_second)
        table.add_row(
            Text(one_line(run.artifact)),
            Text(f"{run.runtime} {run.version}"),
            Text(run.arithmetic),
            Text(size(run.bytes)),
            *_cache_cells(run.cache),
            *(Text("–" if speed is None else number(speed)) for speed in speeds),
        )
    return table


def _cache_cells(cache: CacheSize | None) -> tuple[Text, Text]:
    """The KV cache, and what of it sliding layers keep beyond their windows."""
    if cache is None:
        return Text("–"), Text("–")
    return Text(size(cache.bytes)), Text(size(cache.outside_windows))
