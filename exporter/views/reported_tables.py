"""Releases side by side by their own reports: outcomes, figures, changes, devices.

Not about what is compared with what (`exporter.validation.reported`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from exporter.validation.longest_routes import MEANING as OF_LONGEST_ROUTES
from exporter.validation.reported import ReportedArtifact, ReportedChange, ReportedReleases
from exporter.views.answer import DEVICE_COLUMNS, NO_DEVICE, UNKNOWN, device_row
from exporter.views.table import Column, Row, Table, columns
from exporter.views.terminal import print_table
from exporter.views.wording import number, one_line, percent, size

FIGURES = ("Size", "Context", "Mean KL", "Top-1", "Perplexity", "Prefill", "Decode",
           "Added memory", "KV cache")  # fmt: skip
CHANGES = ("Size", "Mean KL", "Top-1", "Prefill", "Decode", "Added memory", "KV cache")
MEANING = (
    "By the releases' own reports: an artifact's quality is end to end on the evaluation text, "
    f"{OF_LONGEST_ROUTES}, as their headlines have it (perplexity as a ratio to the original's); speed in "
    "tokens per second and resident memory as of the machine that made the release."
)


def print_reported(reported: ReportedReleases, console: Console) -> None:
    """All of it. Text from files is never taken for markup."""
    if not reported.releases:
        return
    print_table(_releases(reported), "Releases", console)
    print_table(_artifacts(reported), "Their artifacts", console)
    print_table(_changes(reported), "Against the release before", console)
    print_table(_devices(reported), "Devices, predicted", console)
    for sentence in _sentences(reported):
        console.print(Text(one_line(sentence)), soft_wrap=True)


def _releases(reported: ReportedReleases) -> Table:
    rows = []
    for each in reported.releases:
        held = f"{each.held} of {each.gates}"
        machine = ", ".join(f"{key} {value}" for key, value in each.machine.items())
        cells = (each.directory, each.model, each.recipe, each.target, held, machine)
        mark = "skipped" if each.outcome == "inconclusive" else each.outcome
        rows.append(Row(cells, mark, each.outcome))
    header = (*columns(("Release", "Model", "Recipe", "Target"), ("Gates that hold",)), Column("Made on"))
    return Table(header, tuple(rows), marked=True)


def _artifacts(reported: ReportedReleases) -> Table:
    rows = []
    for release in reported.releases:
        paths = [each.artifact for each in release.artifacts]
        for each in release.artifacts:
            several = paths.count(each.artifact) > 1
            rows.append(Row((release.directory, _name(each, several), *_figures(each))))
    return Table(columns(("Release", "Artifact"), FIGURES), tuple(rows))


def _figures(of: ReportedArtifact) -> Iterator[str]:
    found = of.end_to_end
    yield size(of.bytes)
    yield number(of.context)
    if found is None:
        yield from (UNKNOWN,) * 3
    else:
        yield number(found.mean_kl)
        yield percent(found.top1)
        yield number(found.perplexity_ratio)
    for speed in (of.prefill_tokens_per_second, of.decode_tokens_per_second):
        yield UNKNOWN if speed is None else f"{speed:,.1f}"
    for nbytes in (of.peak_resident_bytes, of.cache_bytes):
        yield UNKNOWN if nbytes is None else size(nbytes)


def _changes(reported: ReportedReleases) -> Table:
    paths = [(each.directory, each.artifact) for each in reported.changes]
    rows = []
    for each in reported.changes:
        several = paths.count((each.directory, each.artifact)) > 1
        renamed = f"/{each.before_artifact}" if each.before_artifact != each.artifact else ""
        cells = (each.directory, _name(each, several), f"{each.before_directory}{renamed}")
        rows.append(Row((*cells, *_changed(each))))
    return Table(columns(("Release", "Artifact", "Against"), CHANGES), tuple(rows))


def _changed(of: ReportedChange) -> tuple[str, ...]:
    return (
        relative_change(of.bytes),
        relative_change(of.mean_kl),
        points(of.top1),
        relative_change(of.prefill_tokens_per_second),
        relative_change(of.decode_tokens_per_second),
        relative_change(of.peak_resident_bytes),
        relative_change(of.cache_bytes),
    )


def _name(of: ReportedArtifact | ReportedChange, several: bool) -> str:
    """With how it was run where it was run in several ways."""
    return of.artifact + (f" ({of.subject})" if several else "")


def _devices(reported: ReportedReleases) -> Table:
    rows = []
    for release in reported.releases:
        for device in release.devices:
            row = device_row(device)
            rows.append(Row((release.directory, *row.cells), row.mark, row.word))
    return Table((Column("Release"), *DEVICE_COLUMNS), tuple(rows), marked=True)


def _sentences(reported: ReportedReleases) -> Iterator[str]:
    yield MEANING
    yield from reported.remarks
    if any(each.devices for each in reported.releases):
        yield NO_DEVICE


def relative_change(share: float | None) -> str:
    """ "+3.2 %": 0.032 more than before."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    return f"{100 * share:+,.1f} %"


def points(difference: float | None) -> str:
    """ "+0.12 points": of per cent."""
    if difference is None or not math.isfinite(difference):
        return UNKNOWN
    return f"{100 * difference:+.2f} points"
