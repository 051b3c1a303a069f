"""What `validate` prints of a check by recorded calls: what was done, the gates, the verdict last.

Not about the check (`exporter.running.recorded_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exporter.validation.verdict import Skipped

if TYPE_CHECKING:
    from exporter.running.recorded_check import RecordedCheck, RecordedGate

STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow", "inconclusive": "yellow"}
WITHOUT = "No checkpoint took part: quality is what report.json says of the day the release was made."


def print_what_is_checked(missing: Sequence[str], console: Any) -> None:
    """Before any work. missing: packages without which nothing else is possible."""
    from rich.text import Text

    why = f" ({' and '.join(missing)} not installed)" if missing else ""
    first = (
        f"Checked by its recorded calls{why}: checksums, and what each artifact answered when it was made."
    )
    console.print(Text(first), soft_wrap=True)
    console.print(Text(WITHOUT), soft_wrap=True)


def print_recorded_check(check: RecordedCheck, console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from exporter.views.fitted_table import print_fitted
    from exporter.views.wording import one_line

    title = f"{check.model}, recipe {check.recipe}, target {check.target}"
    table = Table(title=Text(one_line(title)), title_justify="left")
    for name in ("Artifact", "Run by", "Statistic"):
        table.add_column(name)
    for name in ("Measured", "Limit"):
        table.add_column(name, justify="right")
    table.add_column("Verdict")
    for gate in check.gates:
        table.add_row(*(Text(one_line(each)) for each in _cells(gate)), _verdict(gate))
    print_fitted(table, console)
    reasons = [
        f"{gate.subject}, {gate.statistic}: skipped, because {gate.verdict.reason}."
        for gate in check.gates
        if isinstance(gate.verdict, Skipped)
    ]
    for sentence in (*check.remarks, *reasons):
        console.print(Text(one_line(sentence)), soft_wrap=True)
    verdict = check.outcome
    console.print(Text.assemble((f"{verdict.upper()} ", STYLES[verdict]), _summary(check)))


def _cells(gate: RecordedGate) -> tuple[str, ...]:
    from exporter.views.wording import bound, quantity

    if isinstance(gate.verdict, Skipped):
        return gate.subject, gate.by or "–", gate.statistic, "–", "–"
    measured = quantity(gate.verdict.measured, gate.verdict.unit)
    return gate.subject, gate.by or "–", gate.statistic, measured, bound(gate.verdict)


def _verdict(gate: RecordedGate) -> Any:
    from rich.text import Text

    from exporter.views.wording import verdict_word

    word = verdict_word(gate.verdict)
    return Text(word, STYLES[word])


def _summary(check: RecordedCheck) -> str:
    from exporter.views.wording import verdict_word

    words = [verdict_word(gate.verdict) for gate in check.gates]
    counts = (f"{words.count(word)} {word}" for word in ("passed", "failed", "skipped") if word in words)
    return f"by recorded calls: of {len(words)} checks {', '.join(counts)}"
