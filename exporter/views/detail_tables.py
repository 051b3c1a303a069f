"""The tables behind the answer: gates, figures, facts from far back, execution paths, runs, memory.

Not about any one view's layout, nor about what is said first (`answer`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.validation.report import Comparison, Gate, TowerInput, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from exporter.views.copy_wording import COPY_COLUMNS, WORDS, copy_rows
from exporter.views.path_wording import PATH_COLUMNS, path_rows
from exporter.views.short_names import ShortNames
from exporter.views.table import Row, Table, columns
from exporter.views.tower_wording import WORDS as SAMPLE_WORDS
from exporter.views.tower_wording import InputWords, sample_rows, tower_inputs
from exporter.views.wording import (
    KINDS,
    bound,
    cache_words,
    number,
    one_line,
    percent,
    plus_minus,
    quantity,
    size,
    verdict_word,
)

UNKNOWN = "–"


def gate_table(gates: Sequence[Gate], names: ShortNames) -> Table:
    """Each gate with its figures or its reason."""
    header = columns(("Artifact", "Compared", "Statistic"), ("Measured", "Limit"))
    return Table(header, tuple(_gate_row(gate, names) for gate in gates), marked=True)


def _gate_row(gate: Gate, names: ShortNames) -> Row:
    match gate.verdict:
        case Skipped(reason):
            figures = (f"could not be checked: {reason}", UNKNOWN)
        case Passed(measured, _, unit) | Failed(measured, _, unit) as verdict:
            figures = (quantity(measured, unit), bound(verdict))
    words = (names.artifact(gate.artifact), names.subject(gate.subject), one_line(gate.statistic))
    return Row((*words, *figures), verdict_word(gate.verdict))


def by_kind(report: ValidationReport, names: ShortNames) -> Iterator[tuple[str, Comparison]]:
    """Comparisons with their short names, in the order a reader follows."""
    named = list(zip(names.rows, report.comparisons, strict=True))
    for kind in KINDS:
        yield from (each for each in named if each[1].kind == kind)


def comparison_table(report: ValidationReport, names: ShortNames) -> Table:
    """What most readers want of each comparison."""
    figures = ("Mean KL", "99.9 % KL", "Max KL", "Top-1", "Perplexity ratio", "Positions")
    rows = []
    for name, comparison in by_kind(report, names):
        found = comparison.statistics
        cells = (
            *(number(each) for each in (found.mean_kl, found.kl_999, found.max_kl)),
            percent(found.top1),
            plus_minus(found.perplexity_ratio, found.perplexity_ratio_error),
            number(found.positions),
        )
        rows.append(Row((name, names.artifact(comparison.artifact), *cells)))
    return Table(columns(("Comparison", "Artifact"), figures), tuple(rows))


def figures_table(report: ValidationReport, names: ShortNames) -> Table:
    """Every statistic of each comparison."""
    kl = ("Mean", "Median", "90 %", "99 %", "99.9 %", "Max")
    figures = (*kl, "Top-1", "Perplexity", "Ratio", "Δp RMS", "Positions")
    rows = []
    for name, comparison in by_kind(report, names):
        found = comparison.statistics
        spread = (
            found.mean_kl, found.median_kl, found.kl_90, found.kl_99, found.kl_999, found.max_kl
        )  # fmt: skip
        cells = (
            *map(number, spread),
            percent(found.top1),
            number(found.reference_perplexity),
            number(found.perplexity_ratio),
            percent(found.delta_p_rms),
            number(found.positions),
        )
        rows.append(Row((name, names.artifact(comparison.artifact), *cells)))
    return Table(columns(("Comparison", "Artifact"), figures), tuple(rows))


def copy_table(report: ValidationReport, names: ShortNames) -> Table:
    """Facts from far back, a row for each subject and distance."""
    rows = (
        Row((names.artifact(row.artifact), names.subject(row.subject), *row.figures))
        for row in copy_rows(report)
    )
    return Table(columns(COPY_COLUMNS[:WORDS], COPY_COLUMNS[WORDS:]), tuple(rows))


def tower_tables(report: ValidationReport, names: ShortNames) -> tuple[tuple[str, str, Table], ...]:
    """Title, what it is, and a row for each tower and sample: of pictures, and of sounds."""
    return tuple(
        (words.title, words.sentence, _sample_table(words, found, names))
        for words, found in tower_inputs(report)
    )


def _sample_table(words: InputWords, found: TowerInput, names: ShortNames) -> Table:
    rows = (
        Row((names.artifact(row.artifact), names.subject(row.subject), *row.words, *row.figures))
        for row in sample_rows(found)
    )
    return Table(columns(words.columns[:SAMPLE_WORDS], words.columns[SAMPLE_WORDS:]), tuple(rows))


def path_table(report: ValidationReport, names: ShortNames) -> Table:
    """Every execution path, those that were not executed too."""
    rows = (
        Row(
            (names.artifact(row.artifact), row.title, row.by, row.accelerated, row.mean_kl, row.top1),
            row.what,
        )
        for row in path_rows(report)
    )
    return Table(columns(PATH_COLUMNS[:4], PATH_COLUMNS[4:]), tuple(rows), marked=True)


def run_table(report: ValidationReport, names: ShortNames) -> Table:
    """What is known of each artifact from having run it, on this machine."""
    figures = (
        "Size", "Context", "KV cache", "Prefill tok/s", "Decode tok/s", "Added memory"
    )  # fmt: skip
    rows = (
        Row(
            (
                names.artifact(run.artifact),
                names.subject(run.subject),
                size(run.bytes),
                number(run.context),
                cache_words(run.cache),
                _speed(run.prefill_tokens_per_second),
                _speed(run.decode_tokens_per_second),
                UNKNOWN if run.peak_resident_bytes is None else size(run.peak_resident_bytes),
            )
        )
        for run in report.runs
    )
    return Table(columns(("Artifact", "Runtime and arithmetic"), figures), tuple(rows))


def memory_table(report: ValidationReport) -> Table:
    """The predicted peak of each format on each device, by what it is made of."""
    rows = (
        Row(
            (
                device.title,
                f"{artifact.format} on {artifact.accelerator}",
                ", ".join(
                    f"{one_line(name)} {size(each)}" for name, each in artifact.memory.items() if each
                ),
                size(artifact.peak_bytes),
                size(device.budget_bytes),
                device.metric,
            )
        )
        for device in report.devices
        for artifact in device.artifacts
    )
    header = columns(("Device", "Format", "Made of"), ("Peak", "Budget")) + columns(("Counted as",))
    return Table(header, tuple(rows))


def weight_error_table(report: ValidationReport) -> Table:
    """Over the layers, each part's mean and largest relative error, and where that is."""
    parts: dict[tuple[str, str], list[tuple[float, int | None]]] = {}
    for each in report.weight_errors:
        parts.setdefault((each.part, each.scheme), []).append((each.relative, each.layer))
    rows = []
    for (part, scheme), found in parts.items():
        errors = [relative for relative, _ in found]
        largest, layer = max(found, key=lambda each: each[0])
        where = UNKNOWN if layer is None else number(layer)
        cells = (number(len(found)), percent(sum(errors) / len(errors)), percent(largest), where)
        rows.append(Row((one_line(part), one_line(scheme), *cells)))
    figures = ("Matrices", "Mean error", "Largest", "In layer")
    return Table(columns(("Part", "Scheme"), figures), tuple(rows))


def legend_table(names: ShortNames) -> Table:
    """Short names and what they stand for."""
    rows = (Row((short, one_line(whole))) for short, whole in names.legend())
    return Table(columns(("Short", "Stands for")), tuple(rows))


def _speed(value: float | None) -> str:
    """Tokens per second."""
    if value is None:
        return UNKNOWN
    return number(value if value < 1000 else round(value))
