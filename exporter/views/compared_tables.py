"""A comparison of quantised checkpoints and artifacts: a table by subject, one by domain, and JSON.

Not about measuring (`exporter.comparing`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.evaluation.compared import DomainComparison, SubjectFigures
from exporter.evaluation.figures import Figures
from exporter.views.wording import number, one_line, percent, plus_minus, size
from runtimes.records import to_plain

KIND_TITLES = {"language": "all languages", "code": "all code", "chat": "all chat"}


def print_compared(compared: DomainComparison, console: Console) -> None:
    """Both tables. Text from files is never taken for markup."""
    console.print(_by_subject(compared))
    console.print(_by_domain(compared))
    for sentence in _reported(compared):
        console.print(Text(one_line(sentence)))
    for remark in compared.remarks:
        console.print(Text(one_line(remark)))
    console.print(
        Text(
            f"{compared.tokens:,} tokens in sequences of at most {compared.longest}; SHA-256 "
            f"{compared.text_sha256[:16]}…. ± is a standard error of blocks of neighbouring positions."
        )
    )


def compared_json(compared: DomainComparison) -> str:
    """All of it, in a versioned schema."""
    return json.dumps(to_plain(compared), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _by_subject(compared: DomainComparison) -> Table:
    title = f"Held against {compared.model}, all domains together"
    table = Table(title=Text(one_line(title)), title_justify="left")
    table.add_column("Subject", overflow="fold")
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


def _reported(compared: DomainComparison) -> Iterator[str]:
    for subject in compared.subjects:
        if (found := subject.reported) is not None:
            yield (
                f"{subject.name}, by its own report, end to end on {found.positions:,} positions of the "
                f"evaluation text: mean KL {number(found.mean_kl)}, top-1 {percent(found.top1)}, "
                f"perplexity ratio {plus_minus(found.perplexity_ratio, found.perplexity_ratio_error)}."
            )


def _name(subject: SubjectFigures) -> Text:
    recipe = "" if subject.recipe is None else f", recipe {subject.recipe}"
    how = "quantised checkpoint" if subject.kind == "checkpoint" else "executed"
    return Text(one_line(f"{subject.name} ({how}{recipe})"))


def _by_domain(compared: DomainComparison) -> Table:
    table = Table(title="By language and domain", title_justify="left")
    for name in ("Domain", "Subject"):
        table.add_column(name, overflow="fold")
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
