"""report.html: one self-contained page for people, readable on a phone, on paper, light or dark.

No script, no font, no image from elsewhere. The verdict comes first; what was not checked has a
section of its own. Escaping is `markup`'s doing, the bars are `kl_chart`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from exporter.validation.report import ArtifactRun, Comparison, Gate, GreedyRun, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from exporter.views.copy_wording import COPY_COLUMNS, COPY_SENTENCE, COPY_TITLE, WORDS, copy_rows
from exporter.views.kl_chart import Axis, axis_for, kl_bar, legend
from exporter.views.markup import Html, join, tag
from exporter.views.path_wording import PATH_COLUMNS, path_rows, path_sentences
from exporter.views.wording import (
    GLOSSARY,
    KINDS,
    MEANINGS,
    bound,
    cache_words,
    checkpoint_sentences,
    gates_by_kind,
    headline,
    not_checked_sentences,
    number,
    percent,
    plus_minus,
    quantity,
    size,
    verdict_word,
    weight_sentences,
)

HTML_NAME = "report.html"
STYLE = Path(__file__).parent / "report.css"

_MARKS = {"passed": "✓", "executed": "✓", "failed": "✗", "skipped": "–", "inconclusive": "?"}


def to_html(report: ValidationReport) -> str:
    """The whole report as one HTML document."""
    title = f"{report.outcome.capitalize()}: {report.model}, {report.recipe}, {report.target}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(STYLE.read_text(encoding="utf-8"))),
    )
    body = tag(
        "body",
        _banner(report),
        tag(
            "main",
            _gates(report),
            _agreement(report),
            _copying(report),
            _paths(report),
            _runs(report),
            _weights(report),
            _not_checked(report),
            _conditions(report),
        ),
        _glossary(),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _banner(report: ValidationReport) -> Html:
    facts = f"Recipe {report.recipe}, target {report.target}"
    return tag(
        "header",
        tag("h1", report.model),
        tag("p", facts, class_="soft"),
        *(tag("p", sentence) for sentence in checkpoint_sentences(report)),
        tag(
            "div",
            tag("p", f"{_MARKS[report.outcome]} {report.outcome.capitalize()}", class_="word"),
            tag("p", headline(report)),
            (tag("p", sentence) for sentence in path_sentences(report)),
            class_=f"verdict {report.outcome}",
        ),
    )


def _gates(report: ValidationReport) -> Html:
    groups = []
    for kind, gates in gates_by_kind(report):
        meaning = MEANINGS[kind]
        header = _header("Artifact", "Compared", "Statistic", "*Measured", "*Limit", "Verdict")
        rows = tag("tbody", (_gate_row(gate) for gate in gates))
        groups.append(
            join(
                tag("h3", meaning.title),
                tag("p", meaning.sentence, class_="soft"),
                tag("table", header, rows, class_="gates"),
            )
        )
    nothing = tag("p", "No gate was set.") if not groups else None
    return tag("section", tag("h2", "Gates"), nothing, groups)


def _gate_row(gate: Gate) -> Html:
    word = verdict_word(gate.verdict)
    match gate.verdict:
        case Skipped(reason):
            figures = tag("td", reason, colspan=2, class_="reason")
        case Passed(measured, _, unit) | Failed(measured, _, unit) as verdict:
            figures = join(
                tag("td", quantity(measured, unit), class_="measured number"),
                tag("td", bound(verdict), class_="limit-cell number"),
            )
    return tag(
        "tr",
        tag("td", _path(gate.artifact) or "no artifact", class_="artifact"),
        tag("td", gate.subject, class_="compared"),
        tag("td", gate.statistic, class_="statistic"),
        figures,
        tag("td", f"{_MARKS[word]} {word}", class_="verdict-cell"),
        class_=word,
    )


def _agreement(report: ValidationReport) -> Html | None:
    if not report.comparisons:
        return None
    limits = _mean_kl_limits(report)
    axis = axis_for((each.statistics for each in report.comparisons), limits.values())
    ordered = [each for kind in KINDS for each in report.comparisons if each.kind == kind]
    return tag(
        "section",
        tag("h2", "How close the predictions are"),
        tag(
            "p",
            "KL divergence of the next-token predictions, position by position. Further left is closer; "
            "each step of the scale is ten times as far.",
            class_="soft",
        ),
        legend(),
        (_chart(each, limits.get((each.kind, each.artifact, each.subject)), axis) for each in ordered),
        tag("h3", "All figures"),
        tag("div", _figures_table(ordered), class_="wide"),
    )


def _mean_kl_limits(report: ValidationReport) -> dict[tuple[str, str | None, str], float]:
    return {
        (gate.kind, gate.artifact, gate.subject): gate.verdict.limit
        for gate in report.gates
        if gate.statistic == "mean KL" and not isinstance(gate.verdict, Skipped)
    }


def _chart(comparison: Comparison, limit: float | None, axis: Axis) -> Html:
    found = comparison.statistics
    path = _path(comparison.artifact)
    return tag(
        "div",
        tag("h3", f"{MEANINGS[comparison.kind].title}: ", path, path and ", ", comparison.subject),
        tag("p", f"against {comparison.reference}; {comparison.route}", class_="soft"),
        tag(
            "p",
            f"mean KL {number(found.mean_kl)} · top-1 {percent(found.top1)} · perplexity ratio "
            f"{plus_minus(found.perplexity_ratio, found.perplexity_ratio_error)}",
            class_="figures",
        ),
        kl_bar(found, limit, axis),
        class_="chart",
    )


def _figures_table(comparisons: list[Comparison]) -> Html:
    header = _header(
        "Comparison",
        "Artifact",
        *("*Mean", "*Median", "*90 %", "*99 %", "*99.9 %", "*Max", "*Top-1"),
        *("*Perplexity", "*Ratio", "*Δp RMS", "*Positions"),
    )
    rows = []
    for comparison in comparisons:
        found = comparison.statistics
        figures = (
            *map(
                number,
                (found.mean_kl, found.median_kl, found.kl_90, found.kl_99, found.kl_999, found.max_kl),
            ),
            percent(found.top1),
            number(found.reference_perplexity),
            number(found.perplexity_ratio),
            percent(found.delta_p_rms),
            number(found.positions),
        )
        name = f"{comparison.kind}: {comparison.subject}"
        cells = (tag("td", each, class_="number") for each in figures)
        rows.append(tag("tr", tag("td", name), tag("td", _path(comparison.artifact)), cells))
    return tag("table", header, tag("tbody", rows))


def _copying(report: ValidationReport) -> Html | None:
    if not report.copying:
        return None
    rows = [
        tag(
            "tr",
            tag("td", _path(row.artifact) or "no artifact"),
            tag("td", row.subject),
            (tag("td", each, class_="number") for each in row.figures),
        )
        for row in copy_rows(report)
    ]
    words, figures = COPY_COLUMNS[:WORDS], COPY_COLUMNS[WORDS:]
    table = tag("table", _header(*words, *(f"*{each}" for each in figures)), tag("tbody", rows))
    return tag(
        "section",
        tag("h2", COPY_TITLE),
        tag("p", COPY_SENTENCE, class_="soft"),
        tag("div", table, class_="wide"),
    )


def _paths(report: ValidationReport) -> Html | None:
    if not report.paths:
        return None
    *words, kl, top1 = PATH_COLUMNS
    rows = []
    for row in path_rows(report):
        cells = (row.title, row.by, row.accelerated)
        figures = (tag("td", each, class_="number") for each in (row.mean_kl, row.top1))
        what = tag("td", f"{_MARKS[row.what]} {row.what}")
        rows.append(
            tag("tr", tag("td", _path(row.artifact)), (tag("td", each) for each in cells), figures, what)
        )
    table = tag("table", _header(*words, f"*{kl}", f"*{top1}", ""), tag("tbody", rows))
    return tag("section", tag("h2", "Execution paths"), tag("div", table, class_="wide"))


def _runs(report: ValidationReport) -> Html | None:
    if not report.runs:
        return None
    note = "Speed and memory are this machine's, for orientation; a device's will differ."
    return tag(
        "section",
        tag("h2", "Artifacts that were run"),
        tag("p", note, class_="soft"),
        (_run(run) for run in report.runs),
    )


def _run(run: ArtifactRun) -> Html:
    facts = (
        ("Format", run.format),
        ("Runtime", f"{run.runtime} {run.version}"),
        ("Arithmetic", run.arithmetic),
        ("Size", size(run.bytes)),
        ("Context", f"{number(run.context)} tokens"),
        ("KV cache", cache_words(run.cache)),
        ("Prefill", _speed(run.prefill_tokens_per_second)),
        ("Decode", _speed(run.decode_tokens_per_second)),
        (
            "Peak memory",
            "not measured" if run.peak_resident_bytes is None else size(run.peak_resident_bytes),
        ),
    )
    non_finite = None
    if run.non_finite_operations:
        words = f"{number(run.non_finite_operations)} operations gave infinite or undefined results."
        non_finite = tag("p", words, class_="bad")
    return tag(
        "div",
        tag("h3", _path(run.artifact)),
        tag("dl", (tag("div", tag("dt", name), tag("dd", value)) for name, value in facts), class_="facts"),
        non_finite,
        (_greedy(each) for each in run.greedy),
        class_="run",
    )


def _greedy(run: GreedyRun) -> Html:
    agreed = (
        f"All {run.tokens} greedy tokens are the reference's own choice."
        if run.agreed == run.tokens
        else f"{run.agreed} of {run.tokens} greedy tokens before the first the reference would not choose."
    )
    # dir="auto": a continuation in Arabic or Hebrew script reads from the right.
    return tag(
        "div",
        tag("p", agreed, class_="soft"),
        tag("blockquote", tag("span", run.prompt, class_="prompt"), run.text, dir="auto"),
        class_="greedy",
    )


def _weights(report: ValidationReport) -> Html | None:
    if not report.weights:
        return None
    sentences = (tag("li", sentence) for sentence in weight_sentences(report))
    return tag("section", tag("h2", "Where the weights come from"), tag("ul", sentences))


def _not_checked(report: ValidationReport) -> Html:
    sentences = (tag("li", each) for each in not_checked_sentences(report))
    return tag("section", tag("h2", "Not checked"), tag("ul", sentences))


def _conditions(report: ValidationReport) -> Html:
    text = (
        ("Text", report.text),
        ("Tokens", number(report.text_tokens)),
        ("SHA-256 of the tokens", report.text_sha256),
    )
    return tag(
        "section",
        tag("h2", "How it was measured"),
        _pairs("Text", text),
        _pairs("Machine", report.machine.items()),
        _pairs("Versions", report.versions.items()),
    )


def _pairs(title: str, pairs: Iterable[tuple[str, str]]) -> Html:
    rows = (tag("tr", tag("td", name), tag("td", value)) for name, value in pairs)
    return join(tag("h3", title), tag("table", tag("tbody", rows)))


def _glossary() -> Html:
    words = (join(tag("dt", word), tag("dd", meaning)) for word, meaning in GLOSSARY)
    return tag("footer", tag("h2", "Words"), tag("dl", words, class_="words"))


def _header(*names: str) -> Html:
    """Column names; a star marks columns of figures, which are set flush right."""
    cells = (
        tag("th", name.removeprefix("*"), scope="col", class_="number" if name.startswith("*") else None)
        for name in names
    )
    return tag("thead", tag("tr", cells))


def _path(path: str | None) -> Html | None:
    return None if path is None else tag("code", path)


def _speed(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{number(value if value < 1000 else round(value))} tokens/s"
