"""Markdown of a report: a summary for CI step summaries, and the quality section of a model card.

Written for GitHub's dialect, the answer first, and well below the 1 MiB that a job page takes. Text that
came from a model or a file name is escaped or fenced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from exporter.validation.report import ValidationReport
from exporter.views.answer import (
    DOMAIN_SENTENCE,
    KeyFigure,
    device_reasons,
    device_sentences,
    device_table,
    domain_table,
    failures,
    fit_sentences,
    key_figures,
)
from exporter.views.copy_wording import COPY_SENTENCE, COPY_TITLE
from exporter.views.detail_tables import (
    comparison_table,
    copy_table,
    gate_table,
    image_table,
    legend_table,
    memory_table,
    path_table,
    run_table,
    weight_error_table,
)
from exporter.views.image_wording import IMAGE_SENTENCE, IMAGE_TITLE, image_sentences
from exporter.views.path_wording import path_sentences
from exporter.views.short_names import ShortNames, short_names
from exporter.views.table import Row, Table, columns
from exporter.views.wording import (
    KINDS,
    MEANINGS,
    checkpoint_sentences,
    gates_by_kind,
    greedy_sentence,
    headline,
    non_finite_sentence,
    not_checked_sentences,
    number,
    one_line,
    visible,
    weight_sentences,
)

_MARKS = {
    "passed": "✅", "executed": "✅", "failed": "❌", "skipped": "⚠️", "inconclusive": "⚠️", "none": "",
}  # fmt: skip


def to_markdown(report: ValidationReport) -> str:
    """The whole report as a summary page."""
    names = short_names(report)
    parts = [*_answer(report, names), *_details(report, names), _measured_on(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def quality_section(report: ValidationReport) -> str:
    """What a model card says of quality: the verdict, agreement per artifact, what was not checked."""
    names = short_names(report)
    kinds = "\n".join(
        f"- {MEANINGS[kind].title}: {MEANINGS[kind].sentence}"
        for kind in KINDS
        if any(comparison.kind == kind for comparison in report.comparisons)
    )
    parts = [
        " ".join((f"**{report.outcome.capitalize()}.** {headline(report)}", *fit_sentences(report))),
        _list(path_sentences(report)),
        *_led(
            "Devices",
            device_table(report),
            "Predicted, each by the format that needs the least memory there.",
        ),
        _sentences(device_sentences(report)),
        "**Weights**" if report.weights else "",
        _list(weight_sentences(report)),
        *_led("Agreement of the logits", comparison_table(report, names)),
        kinds or "No logits were compared.",
        _legend(names),
        *_led("By language and domain", domain_table(report), DOMAIN_SENTENCE),
        *_led(IMAGE_TITLE, image_table(report, names), IMAGE_SENTENCE),
        *_led(COPY_TITLE, copy_table(report, names), COPY_SENTENCE),
        *_led("Execution paths", path_table(report, names)),
        "**Not checked**",
        _list(tuple(map(names.sentence, not_checked_sentences(report)))),
        f"{_measured_on(report)} `report.html` and `report.json` hold all figures, and `report.html` says "
        "what the words mean.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _answer(report: ValidationReport, names: ShortNames) -> list[str]:
    outcome = f"{_MARKS[report.outcome]} {report.outcome.capitalize()}"
    what = f"{_escaped(report.model)}, recipe {_escaped(report.recipe)}, target {_escaped(report.target)}"
    failed = [f"- {_MARKS[mark]} {_escaped(sentence)}" for mark, sentence in failures(report, names)]
    return [
        f"# {outcome}: {what}",
        headline(report),
        *fit_sentences(report),
        "\n".join(failed),
        *(_escaped(sentence) for sentence in path_sentences(report)),
        "## Devices",
        *_devices(report),
        "## Five figures",
        _table(_key_table(key_figures(report, names))),
        *_section("By language and domain", domain_table(report), DOMAIN_SENTENCE),
        *(_escaped(each) for each in (*image_sentences(report), *checkpoint_sentences(report))),
        "## Not checked",
        _list(tuple(map(names.sentence, not_checked_sentences(report)))),
    ]


def _details(report: ValidationReport, names: ShortNames) -> list[str]:
    parts = ["## Gates"]
    for kind, gates in gates_by_kind(report):
        parts += [
            f"**{MEANINGS[kind].title}.** {MEANINGS[kind].sentence}",
            _table(gate_table(gates, names)),
        ]
    parts += [
        *_section("Agreement of the logits", comparison_table(report, names)),
        _legend(names),
        *_section(IMAGE_TITLE, image_table(report, names), IMAGE_SENTENCE),
        *_section(COPY_TITLE, copy_table(report, names), COPY_SENTENCE),
        *_section("Execution paths", path_table(report, names)),
        *(
            ("## What decided for each device", _list(reasons))
            if (reasons := device_reasons(report))
            else ()
        ),
        *_section("Memory by component", memory_table(report)),
        *_section("Artifacts that were run", run_table(report, names)),
    ]
    for run in report.runs:
        parts.append(_escaped(non_finite_sentence(run) or ""))
        for greedy in run.greedy:
            who = f"{_escaped(names.run(run))} after “{_escaped(greedy.prompt)}”"
            parts += [f"{who}: {greedy_sentence(greedy)}", "\n".join(_fenced(greedy.text))]
    if report.weights or report.weight_errors:
        parts += ["## Where the weights come from", _list(weight_sentences(report))]
        parts.append(_table(weight_error_table(report)))
    return parts


def _devices(report: ValidationReport) -> tuple[str, str]:
    return _table(device_table(report)), _sentences(device_sentences(report))


def _key_table(figures: Sequence[KeyFigure]) -> Table:
    rows = (Row((each.title, each.value, each.note), each.mark) for each in figures)
    return Table(columns(("Figure", "Value", "Of")), tuple(rows), marked=True)


def _legend(names: ShortNames) -> str:
    return _table(legend_table(names))


def _section(title: str, shown: Table, sentence: str = "") -> tuple[str, ...]:
    return (f"## {title}", sentence, _table(shown)) if shown.rows else ()


def _led(title: str, shown: Table, sentence: str = "") -> tuple[str, ...]:
    """The same without a heading: a card has its own."""
    return (f"**{title}.** {sentence}" if sentence else f"**{title}**", _table(shown)) if shown.rows else ()


def _table(shown: Table) -> str:
    """Nothing for a table without rows."""
    if not shown.rows:
        return ""
    header = [column.name for column in shown.columns]
    rules = ["---:" if column.number else "---" for column in shown.columns]
    rows = [[_escaped(cell) for cell in row.cells] for row in shown.rows]
    if shown.marked:
        header, rules = ["", *header], ["---", *rules]
        rows = [
            [f"{_MARKS[row.mark]} {_escaped(row.word)}".strip(), *cells]
            for row, cells in zip(shown.rows, rows, strict=True)
        ]
    lines = [_row(header), f"|{'|'.join(rules)}|", *map(_row, rows)]
    return "\n".join(lines)


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {_escaped(sentence)}" for sentence in sentences)


def _sentences(sentences: Sequence[str]) -> str:
    """Each a paragraph."""
    return "\n\n".join(map(_escaped, sentences))


def _measured_on(report: ValidationReport) -> str:
    return (
        f"Measured on {number(report.text_tokens)} tokens of gemma-export's own evaluation text, the last "
        f"only predicted: {_escaped(report.text)} (SHA-256 of the tokens {report.text_sha256[:12]})."
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text on one line with Markdown's and HTML's own characters taken as characters."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", one_line(text))


def _fenced(text: str) -> list[str]:
    """A code block that the text cannot close: its fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", visible(text), fence]
