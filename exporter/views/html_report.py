"""report.html: one self-contained page for people, readable on a phone, on paper, light or dark.

No script, no font, no image from elsewhere. It opens with the answer: verdict, devices, five figures,
languages; what was not checked has a section of its own. What it says is made in other modules, how it
looks in `templates` and report.css, and the plots in `report_plots`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.validation.report import ValidationReport
from exporter.views.answer import (
    DOMAIN_SENTENCE,
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
    copy_table,
    figures_table,
    gate_table,
    image_table,
    legend_table,
    memory_table,
    path_table,
    run_table,
    weight_error_table,
)
from exporter.views.glossary import GLOSSARY
from exporter.views.image_wording import IMAGE_SENTENCE, IMAGE_TITLE, image_sentences
from exporter.views.path_wording import path_sentences
from exporter.views.report_plots import plots
from exporter.views.short_names import ShortNames, short_names
from exporter.views.wording import (
    MEANINGS,
    checkpoint_sentences,
    gates_by_kind,
    greedy_sentence,
    headline,
    non_finite_sentence,
    not_checked_sentences,
    number,
    weight_sentences,
)

if TYPE_CHECKING:
    from jinja2 import Environment

HTML_NAME = "report.html"
STYLE = Path(__file__).parent / "report.css"
TEMPLATES = Path(__file__).parent / "templates"

MARKS = {"passed": "✓", "executed": "✓", "failed": "✗", "skipped": "–", "inconclusive": "?", "none": ""}

# Control characters HTML may not hold; line breaks and tabs it may.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def to_html(report: ValidationReport) -> str:
    """The whole report as one HTML document."""
    names = short_names(report)
    page = _environment().get_template("report.html.j2")
    written = page.render(
        report=report,
        style=STYLE.read_text(encoding="utf-8"),
        plots=tuple(plots(report, names)),
        **_answer(report, names),
        **_details(report, names),
    )
    return f"{written}\n"


def _answer(report: ValidationReport, names: ShortNames) -> Mapping[str, Any]:
    """What stands before the details."""
    return {
        "headline": headline(report),
        "checkpoint_sentences": (*image_sentences(report), *checkpoint_sentences(report)),
        "fit_sentences": fit_sentences(report),
        "failures": failures(report, names),
        "path_sentences": path_sentences(report),
        "device_sentences": device_sentences(report),
        "devices": device_table(report),
        "key_figures": key_figures(report, names),
        "domains": domain_table(report),
        "domain_sentence": DOMAIN_SENTENCE,
    }


def _details(report: ValidationReport, names: ShortNames) -> Mapping[str, Any]:
    return {
        "gates": [(MEANINGS[kind], gate_table(gates, names)) for kind, gates in gates_by_kind(report)],
        "figures": figures_table(report, names),
        "legend": legend_table(names),
        "images": (IMAGE_TITLE, IMAGE_SENTENCE, image_table(report, names)),
        "copying": (COPY_TITLE, COPY_SENTENCE, copy_table(report, names)),
        "paths": path_table(report, names),
        "runs": run_table(report, names),
        "greedy": [
            (names.run(run), greedy_sentence(each), each) for run in report.runs for each in run.greedy
        ],
        "non_finite": [
            sentence for run in report.runs if (sentence := non_finite_sentence(run)) is not None
        ],
        "device_reasons": device_reasons(report),
        "memory": memory_table(report),
        "weight_sentences": weight_sentences(report),
        "weight_errors": weight_error_table(report),
        "not_checked": tuple(map(names.sentence, not_checked_sentences(report))),
        "conditions": (
            ("Text", report.text),
            ("Tokens", number(report.text_tokens)),
            ("SHA-256 of the tokens", report.text_sha256),
            *report.machine.items(),
            *report.versions.items(),
        ),
        "glossary": GLOSSARY,
    }


@cache
def _environment() -> Environment:
    """Every expression is escaped but style and plots, which are ours; an unknown name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["marks"] = MARKS
    return environment


def _shown(value: object) -> object:
    """Text without control characters, which become U+FFFD; markup and numbers as they are."""
    return _CONTROL.sub("\ufffd", value) if type(value) is str else value
