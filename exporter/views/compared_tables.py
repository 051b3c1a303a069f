"""A comparison of quantised checkpoints and artifacts: tables by subject, change and domain, and JSON.

Not about measuring (`exporter.comparing`), nor what releases' own reports say (`reported_tables`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.evaluation.compared import DomainComparison, SubjectFigures
from exporter.evaluation.figures import Figures
from exporter.validation.reported import ReportedReleases
from exporter.views.fitted_table import print_fitted
from exporter.views.reported_tables import points, relative_change
from exporter.views.wording import number, one_line, percent, plus_minus, size
from runtimes.records import to_plain

COMPARED_SCHEMA_VERSION = 4
KIND_TITLES = {"language": "all languages", "code": "all code", "chat": "all chat"}


def print_compared(compared: DomainComparison, console: Console) -> None:
    """All tables. Text from files is never taken for markup."""
    print_fitted(_by_subject(compared), console)
    if compared.changes:
        print_fitted(_changes(compared), console)
    print_fitted(_by_domain(compared), console)
    for remark in compared.remarks:
        console.print(Text(one_line(remark)))
    console.print(
        Text(
            f"{compared.tokens:,} tokens in sequences of at most {compared.longest}; SHA-256 "
            f"{compared.text_sha256[:16]}…. ± is a standard error of blocks of neighbouring positions."
        )
    )


def compared_json(executed: DomainComparison | None, reported: ReportedReleases) -> str:
    """All of it, in a versioned schema. executed: None where reports alone were read."""
    members = {
        "schema_version": COMPARED_SCHEMA_VERSION,
        "executed": None if executed is None else to_plain(executed),
        "reported": to_plain(reported),
    }
    return json.dumps(members, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _by_subject(compared: DomainComparison) -> Table:
    title = f"Held against {compared.model}, all domains together"
    table = Table(title=Text(one_line(title)), title_justify="left")
    table.add_column("Subject")
    for name in ("Bits", "Size", "Mean KL", "Median", "99 %", "Max", "Top-1", "Perplexity ratio"):
        table.add_column(name, justify="right")
    for subject in compared.subjects:
        statistics, errors = subject.overall.statistics, subject.overall.errors
        table.add_row(
            _name(subject),
            f"{subject.bits:.2f}",
            size(subject.nbytes),
            plus_minus(statistics.mean_kl, errors.mean_kl),
            *(number(each) for each in (statistics.median_kl, statistics.kl_99, statistics.max_kl)),
            _top1(subject.overall),
            plus_minus(statistics.perplexity_ratio, errors.perplexity_ratio),
        )
    return table


def _changes(compared: DomainComparison) -> Table:
    table = Table(title="Against the directory before, as executed here", title_justify="left")
    for name in ("Subject", "Against"):
        table.add_column(name)
    for name in ("Size", "Mean KL", "Top-1"):
        table.add_column(name, justify="right")
    for each in compared.changes:
        figures = (relative_change(each.nbytes), relative_change(each.mean_kl), points(each.top1))
        table.add_row(*(Text(one_line(cell)) for cell in (each.name, each.before, *figures)))
    return table


def _name(subject: SubjectFigures) -> Text:
    recipe = "" if subject.recipe is None else f", recipe {subject.recipe}"
    how = "quantised checkpoint" if subject.kind == "checkpoint" else "executed"
    return Text(one_line(f"{subject.name} ({how}{recipe})"))


def _by_domain(compared: DomainComparison) -> Table:
    table = Table(title="By language and domain", title_justify="left")
    for name in ("Domain", "Subject"):
        table.add_column(name)
    for name in ("Positions", "Mean KL", "99 %", "Max", "Top-1", "Perplexity ratio"):
        table.add_column(name, justify="right")
    for title, rows in _domains(compared):
        for number_of, (subject, found) in enumerate(rows):
            statistics, errors = found.statistics, found.errors
            table.add_row(
                Text(title if number_of == 0 else ""),
                Text(one_line(subject.name)),
                f"{statistics.positions:,}",
                plus_minus(statistics.mean_kl, errors.mean_kl),
                *(number(each) for each in (statistics.kl_99, statistics.max_kl)),
                _top1(found),
                plus_minus(statistics.perplexity_ratio, errors.perplexity_ratio),
            )
        table.add_section()
    return table


def _domains(compared: DomainComparison) -> Iterator[tuple[str, list[tuple[SubjectFigures, Figures]]]]:
    """Each text, and after the texts of a kind all of them together where there are several."""
    first = compared.subjects[0]
    for kind in first.kinds:
        here = [at for at, each in enumerate(first.domains) if each.kind == kind]
        for at in here:
            rows = [(subject, subject.domains[at].figures) for subject in compared.subjects]
            yield first.domains[at].name, rows
        if len(here) > 1:
            yield KIND_TITLES[kind], [(subject, subject.kinds[kind]) for subject in compared.subjects]


def _top1(found: Figures) -> str:
    return f"{percent(found.statistics.top1)} ± {100 * found.errors.top1:.1f}"
