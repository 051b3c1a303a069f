"""What a report answers first: may this be shipped, to which device, and how good it is.

    devices         a row each, predicted: no device takes part in a validation
    key figures     five, whatever there is
    domains         languages, code and chat, the worst first
    failures        the gates that do not hold or could not be tried
Not about any one view's layout, nor about the details behind it (`detail_tables`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.byte_size import in_one_unit
from exporter.planning.device_verdict import ArtifactOnDevice, DeviceVerdict
from exporter.planning.measured_memory import how_far_off
from exporter.validation.longest_routes import on_longest_routes
from exporter.validation.report import Comparison, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from exporter.views.short_names import ShortNames
from exporter.views.table import Mark, Row, Table, columns
from exporter.views.wording import (
    bound,
    number,
    one_line,
    per_second,
    percent,
    plus_minus,
    quantity,
    size,
    verdict_word,
)

NO_DEVICE = "No device took part: memory and speed are predicted, from sizes and from published figures."
DOMAIN_SENTENCE = (
    "What quantising costs each text: transformers on the quantised checkpoint against transformers on the "
    "original one, the worst first."
)
PEAKS = "Of a peak the second figure counts that error, and what fits has room for it."
# Of `python -m benchmarks.decode_speed`; a test holds it to what that prints.
SPEEDS_OFF = (
    "Of 17 published decode speeds 16 lie within a tenth of such an interval, one a third below it."
)
UNKNOWN = "–"


@dataclass(frozen=True)
class KeyFigure:
    """note: of which artifact or text it is, and what it was held against."""

    title: str
    value: str
    note: str
    mark: Mark = "none"


def fit_sentences(report: ValidationReport) -> tuple[str, ...]:
    """On how many devices there is room for it; none where none was asked about."""
    if not report.devices:
        return ()
    fitting = [each for each in report.devices if each.fit in ("fits", "fits with entitlement")]
    doubtful = sum(each.fit == "may not fit" for each in report.devices)
    counted = (
        (", on {} of them not on the GPU", sum(" not on its GPU" in each.word for each in fitting)),
        (
            ", on {} of them below the fidelity asked for",
            sum(each.below_fidelity is not None for each in fitting),
        ),
        (", and may not fit {} of them", doubtful),
    )
    but = "".join(words.format(count) for words, count in counted if count)
    many = len(report.devices)
    return (f"By prediction it fits {len(fitting)} of {many} device{'' if many == 1 else 's'}{but}.",)


def device_sentences(report: ValidationReport) -> tuple[str, ...]:
    """What the table of devices rests on, and why one does not simply fit; where there is none, why."""
    if report.devices:
        unlike = [each for each in report.devices if each.word != "fits"]
        predicted = [
            (a.format, a.accelerator, each.metric) for each in report.devices for a in each.artifacts
        ]
        return (NO_DEVICE, f"{how_far_off(predicted)} {PEAKS} {SPEEDS_OFF}", *map(_reason, unlike))
    if any(gate.kind == "files" for gate in report.gates):
        why = "This release was checked again, which asks about no device: its own report.json does."
    else:
        why = "It was made for no device in particular, so none was asked about."
    return (f"No device took part. {why}",)


def device_reasons(report: ValidationReport) -> tuple[str, ...]:
    """What decided for each device, a sentence each."""
    return tuple(map(_reason, report.devices))


def _reason(device: DeviceVerdict) -> str:
    return f"{device.title}: {one_line(device.reason)}"


DEVICE_COLUMNS = (
    *columns(("Device",), ("Peak of budget", "Size", "KV cache", "Decode tokens/s")),
    *columns(("Recipe",), ("Context",)),
    *columns(("Format", "Facts")),
)


def device_table(report: ValidationReport) -> Table:
    """A row for each device, by the format that decides."""
    return Table(DEVICE_COLUMNS, tuple(map(device_row, report.devices)), marked=True)


def device_row(device: DeviceVerdict) -> Row:
    """Under DEVICE_COLUMNS, with what of it fits."""
    decides = next(iter(device.artifacts), None)
    figures = (UNKNOWN,) * 4 if decides is None else _on_device(device, decides)
    known = "sourced" if device.sourced else "unverified"
    form = UNKNOWN
    if decides is not None:
        form = f"{decides.format} {decides.instead_of_gpu or f'on {decides.accelerator}'}"
    simply: Mark = "passed" if device.word == device.fit != "may not fit" else "skipped"
    mark: Mark = "failed" if device.fit == "does not fit" else simply
    recipe = one_line(device.recipe)
    cells = (device.title, *figures, recipe, number(device.context), form, known)
    return Row(cells, mark, device.word)


def _on_device(device: DeviceVerdict, artifact: ArtifactOnDevice) -> tuple[str, str, str, str]:
    entitled = device.budget_with_entitlement_bytes
    budget = device.budget_bytes if entitled is None or device.fit == "fits" else entitled
    takes, most, there = in_one_unit(artifact.peak_bytes, artifact.most_bytes, budget)
    return (
        f"{takes.split()[0]}–{most.split()[0]} of {there}",
        size(artifact.artifact_bytes),
        size(artifact.cache_bytes),
        _speed(device, artifact),
    )


def _speed(device: DeviceVerdict, artifact: ArtifactOnDevice) -> str:
    speed = artifact.decode
    if speed is None:
        return "not known"
    low, high, most = map(per_second, (speed.low, speed.high, speed.ceiling))
    return f"{low}–{high}, at most {most}{' (unverified)' if device.sourced and not speed.sourced else ''}"


def key_figures(report: ValidationReport, names: ShortNames) -> tuple[KeyFigure, ...]:
    """Five, in this order; one that was not measured says so."""
    user = on_longest_routes(report.comparisons)
    return (
        _gates_held(report),
        _farthest(report, user, names),
        _least_alike(report, user, names),
        _worst_domain(report),
        _largest(report, names),
    )


def _gates_held(report: ValidationReport) -> KeyFigure:
    words = [verdict_word(gate.verdict) for gate in report.gates]
    failed, skipped = words.count("failed"), words.count("skipped")
    note = f"{failed} failed, {skipped} skipped"
    mark: Mark = "failed" if failed else "skipped" if skipped or not words else "passed"
    return KeyFigure("Gates that hold", f"{words.count('passed')} of {len(words)}", note, mark)


def _farthest(report: ValidationReport, user: Sequence[Comparison], names: ShortNames) -> KeyFigure:
    title = "Mean KL, end to end"
    if not user:
        return KeyFigure(title, UNKNOWN, "no artifact was compared with the original")
    worst = max(user, key=lambda each: _worse(each.statistics.mean_kl))
    note, mark = _held(report, worst, "mean KL", names)
    return KeyFigure(title, number(worst.statistics.mean_kl), note, mark)


def _least_alike(report: ValidationReport, user: Sequence[Comparison], names: ShortNames) -> KeyFigure:
    title = "Same next token"
    if not user:
        return KeyFigure(title, UNKNOWN, "no artifact was compared with the original")
    worst = min(user, key=lambda each: each.statistics.top1)
    note, mark = _held(report, worst, "top-1", names)
    return KeyFigure(title, percent(worst.statistics.top1), note, mark)


def _held(
    report: ValidationReport, worst: Comparison, statistic: str, names: ShortNames
) -> tuple[str, Mark]:
    """Whose figure it is, with its limit; and its mark."""
    whose = names.artifact(worst.artifact)
    for gate in report.gates:
        here = (gate.kind, gate.artifact, gate.subject, gate.statistic)
        verdict = gate.verdict
        if here == ("end to end", worst.artifact, worst.subject, statistic) and not isinstance(
            verdict, Skipped
        ):
            mark: Mark = "passed" if isinstance(verdict, Passed) else "failed"
            return f"{whose}, longest route, limit {bound(verdict)}", mark
    return f"{whose}, longest route", "none"


def _worst_domain(report: ValidationReport) -> KeyFigure:
    title = "Worst language or domain"
    if not report.domains:
        return KeyFigure(title, UNKNOWN, "none was compared by itself")
    worst = max(report.domains, key=lambda each: _worse(each.statistics.mean_kl))
    verdicts = _domain_verdicts(report)
    failed = sum(isinstance(each, Failed) for each in verdicts.values())
    note = f"mean KL; {failed} of {len(report.domains)} beyond the limit"
    mark: Mark = "none" if not verdicts else "failed" if failed else "passed"
    return KeyFigure(title, f"{worst.name} {number(worst.statistics.mean_kl)}", note, mark)


def _largest(report: ValidationReport, names: ShortNames) -> KeyFigure:
    if not report.runs:
        return KeyFigure("Size", UNKNOWN, "no artifact was run")
    largest = max(report.runs, key=lambda each: each.bytes)
    several = "the largest, " if len({each.artifact for each in report.runs}) > 1 else ""
    return KeyFigure("Size", size(largest.bytes), f"{several}{names.artifact(largest.artifact)}")


def domain_table(report: ValidationReport) -> Table:
    """The worst first, with what each was held against."""
    verdicts = _domain_verdicts(report)
    rows = []
    for each in sorted(report.domains, key=lambda each: -_worse(each.statistics.mean_kl)):
        found, verdict = each.statistics, verdicts.get(each.name)
        limit = bound(verdict) if isinstance(verdict, Passed | Failed) else UNKNOWN
        cells = (
            each.name,
            each.kind,
            number(found.mean_kl),
            limit,
            percent(found.top1),
            plus_minus(found.perplexity_ratio, found.perplexity_ratio_error),
            number(found.positions),
        )
        rows.append(Row(cells, "none" if verdict is None else verdict_word(verdict)))
    figures = ("Mean KL", "Limit", "Top-1", "Perplexity ratio", "Positions")
    return Table(columns(("Text", "Kind"), figures), tuple(rows), marked=True)


def _domain_verdicts(report: ValidationReport) -> dict[str, Passed | Failed | Skipped]:
    return {gate.subject: gate.verdict for gate in report.gates if gate.kind == "domain"}


def failures(report: ValidationReport, names: ShortNames) -> tuple[tuple[Mark, str], ...]:
    """The gates that do not hold, then those that could not be tried, a line each."""
    failed = [(gate, each) for gate in report.gates if isinstance(each := gate.verdict, Failed)]
    skipped = [(gate, each) for gate in report.gates if isinstance(each := gate.verdict, Skipped)]
    return (
        *(("failed", f"{names.gate(gate)} {_measured(verdict)}") for gate, verdict in failed),
        *(("skipped", f"{names.gate(gate)}: {one_line(verdict.reason)}") for gate, verdict in skipped),
    )


def _measured(verdict: Failed) -> str:
    return f"is {quantity(verdict.measured, verdict.unit)}, limit {bound(verdict)}"


def _worse(kl: float) -> float:
    """For ordering: not a number is worse than anything."""
    return math.inf if math.isnan(kl) else kl
