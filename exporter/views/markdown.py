"""Markdown of a report: a summary for CI step summaries, and the quality section of a model card.

Written for GitHub's dialect. Text that came from a model or a file name is escaped or fenced.
"""

from __future__ import annotations

import re

from exporter.validation.report import ArtifactRun, Comparison, Gate, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from exporter.views.copy_wording import COPY_COLUMNS, COPY_SENTENCE, COPY_TITLE, WORDS, copy_rows
from exporter.views.path_wording import PATH_COLUMNS, PathRow, path_rows, path_sentences
from exporter.views.wording import (
    KINDS,
    MEANINGS,
    bound,
    cache_words,
    checkpoint_sentences,
    gates_by_kind,
    headline,
    not_checked_sentences,
    number,
    one_line,
    percent,
    plus_minus,
    quantity,
    size,
    verdict_word,
    visible,
    weight_sentences,
)

_MARKS = {"passed": "✅", "executed": "✅", "failed": "❌", "skipped": "⚠️", "inconclusive": "⚠️"}


def to_markdown(report: ValidationReport) -> str:
    """The whole report as a summary page."""
    lines = [
        f"# {_MARKS[report.outcome]} {report.outcome.capitalize()}: {_escaped(report.model)}, "
        f"recipe {_escaped(report.recipe)}, target {_escaped(report.target)}",
        "",
        headline(report),
    ]
    for sentence in (*path_sentences(report), *checkpoint_sentences(report)):
        lines += ["", _escaped(sentence)]
    if report.weights:
        lines += ["", *_weights(report)]
    lines += ["", "## Gates"]
    for kind, gates in gates_by_kind(report):
        lines += ["", f"**{MEANINGS[kind].title}.** {MEANINGS[kind].sentence}", ""]
        lines += ["| | Artifact | Subject | Statistic | Measured | Limit |", "|---|---|---|---|---:|---:|"]
        lines += [_gate_row(gate) for gate in gates]
    if report.comparisons:
        lines += ["", "## Agreement of the logits", "", *_comparison_table(report)]
    if report.copying:
        lines += ["", f"## {COPY_TITLE}", "", COPY_SENTENCE, "", *_copy_table(report)]
    if report.paths:
        lines += ["", "## Execution paths", "", *_path_table(report)]
    if report.runs:
        lines += ["", "## Artifacts that were run", "", *_run_table(report.runs)]
        for run in report.runs:
            for greedy in run.greedy:
                lines += [
                    "",
                    f"{_artifact(run.artifact)} after “{_escaped(greedy.prompt)}”, {greedy.agreed} of "
                    f"{greedy.tokens} tokens as the reference would choose:",
                    "",
                    *_fenced(greedy.text),
                ]
    lines += ["", "## Not checked", "", *_not_checked(report), "", _measured_on(report)]
    return "\n".join(lines) + "\n"


def quality_section(report: ValidationReport) -> str:
    """What a model card says of quality: the verdict, agreement per artifact, what was not checked."""
    kinds = "\n".join(
        f"- {MEANINGS[kind].title}: {MEANINGS[kind].sentence}"
        for kind in KINDS
        if any(comparison.kind == kind for comparison in report.comparisons)
    )
    parts = [
        f"**{report.outcome.capitalize()}.** {headline(report)}",
        "\n".join(f"- {_escaped(sentence)}" for sentence in path_sentences(report)),
        "\n".join(_weights(report)),
        "\n".join(_comparison_table(report)) if report.comparisons else "No logits were compared.",
        kinds,
        "\n\n".join((f"{COPY_TITLE}. {COPY_SENTENCE}", "\n".join(_copy_table(report))))
        if report.copying
        else "",
        "\n".join(_path_table(report)) if report.paths else "",
        "Not checked:",
        "\n".join(_not_checked(report)),
        f"{_measured_on(report)} `report.html` and `report.json` hold all figures.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _weights(report: ValidationReport) -> list[str]:
    return [f"- {_escaped(sentence)}" for sentence in weight_sentences(report)]


def _gate_row(gate: Gate) -> str:
    mark = _MARKS[verdict_word(gate.verdict)]
    match gate.verdict:
        case Skipped(reason):
            cells = [f"could not be checked: {_escaped(reason)}", "–"]
        case Passed(measured, _, unit) | Failed(measured, _, unit) as verdict:
            cells = [quantity(measured, unit), bound(verdict)]
    return _row(mark, _artifact(gate.artifact), _escaped(gate.subject), _escaped(gate.statistic), *cells)


def _comparison_table(report: ValidationReport) -> list[str]:
    header = (
        "Comparison",
        "Artifact",
        "Mean KL",
        "99.9 % KL",
        "Max KL",
        "Top-1",
        "Perplexity ratio",
        "Positions",
    )
    rows = [
        _comparison_row(comparison)
        for kind in KINDS
        for comparison in report.comparisons
        if comparison.kind == kind
    ]
    return [_row(*header), "|---|---|" + "---:|" * (len(header) - 2), *rows]


def _comparison_row(comparison: Comparison) -> str:
    found = comparison.statistics
    return _row(
        f"{comparison.kind}: {_escaped(comparison.subject)}",
        _artifact(comparison.artifact),
        number(found.mean_kl),
        number(found.kl_999),
        number(found.max_kl),
        percent(found.top1),
        plus_minus(found.perplexity_ratio, found.perplexity_ratio_error),
        number(found.positions),
    )


def _path_table(report: ValidationReport) -> list[str]:
    header = [_row("", *PATH_COLUMNS), "|---|---|---|---|---|---:|---:|"]
    return header + [_path_row(row) for row in path_rows(report)]


def _path_row(row: PathRow) -> str:
    words = (_escaped(each) for each in (row.title, row.by, row.accelerated))
    return _row(_MARKS[row.what], _artifact(row.artifact), *words, row.mean_kl, row.top1)


def _copy_table(report: ValidationReport) -> list[str]:
    header = [_row(*COPY_COLUMNS), "|" + "---|" * WORDS + "---:|" * (len(COPY_COLUMNS) - WORDS)]
    return header + [
        _row(_artifact(row.artifact), _escaped(row.subject), *row.figures) for row in copy_rows(report)
    ]


def _run_table(runs: tuple[ArtifactRun, ...]) -> list[str]:
    header = (
        "Artifact",
        "Runtime",
        "Arithmetic",
        "Size",
        "Context",
        "KV cache",
        "Prefill tok/s",
        "Decode tok/s",
        "Peak memory",
    )
    rows = [
        _row(
            _artifact(run.artifact),
            _escaped(f"{run.runtime} {run.version}"),
            _escaped(run.arithmetic),
            size(run.bytes),
            number(run.context),
            cache_words(run.cache),
            _optional(run.prefill_tokens_per_second),
            _optional(run.decode_tokens_per_second),
            "–" if run.peak_resident_bytes is None else size(run.peak_resident_bytes),
        )
        for run in runs
    ]
    return [_row(*header), "|---|---|---|" + "---:|" * (len(header) - 3), *rows]


def _not_checked(report: ValidationReport) -> list[str]:
    return [f"- {_escaped(each)}" for each in not_checked_sentences(report)]


def _measured_on(report: ValidationReport) -> str:
    return (
        f"Measured on {number(report.text_tokens)} tokens of {_escaped(report.text)}, the last of them "
        f"only predicted (SHA-256 of the tokens {report.text_sha256[:12]})."
    )


def _optional(value: float | None) -> str:
    return "–" if value is None else number(value)


def _artifact(path: str | None) -> str:
    return "–" if path is None else f"`{one_line(path).replace('`', '')}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """Text on one line with Markdown's and HTML's own characters taken as characters."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", one_line(text))


def _fenced(text: str) -> list[str]:
    """A code block that the text cannot close: its fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", visible(text), fence]
