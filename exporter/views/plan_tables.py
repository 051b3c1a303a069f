"""A plan and the list of devices as tables: in a terminal, and as Markdown for the documents.

Prints to the console it is given. Not about what is in them (`exporter.planning.outlook`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.byte_size import in_one_unit, megabytes
from exporter.parameter_count import parameters
from exporter.planning.device_profile import DeviceProfile, Status
from exporter.planning.device_verdict import ArtifactOnDevice, DecodeSpeed, DeviceVerdict
from exporter.planning.outlook import DeviceOutlook, Outlook, ReleaseOutlook
from exporter.views.fitted_table import print_fitted
from exporter.views.wording import per_second

NOBODY = "Estimates from shapes and published figures: no device took part."
COLUMNS = (
    *("device", "verdict", "recipe", "context", "format", "on disk", "KV cache", "peak", "at most", "of"),
    "decode, tokens/s",
)


def print_outlook(outlook: Outlook, console: Console) -> None:
    """The devices, what was rejected for each, the releases, what the export takes, and how the checkpoint
    was read."""
    title = f"{outlook.model}, {parameters(outlook.parameters)}"
    table = Table(title=title, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, no_wrap=name == COLUMNS[0])
    for device in outlook.devices:
        for row in device_rows(device):
            table.add_row(*map(Text, row))
        table.add_section()
    if outlook.devices:
        print_fitted(table, console)
    for target, found in groupby(outlook.devices, key=lambda each: each.target):
        _say_of_devices(console, target, list(found))
    for release in outlook.releases:
        of = f"Release {release.label} for {', '.join(release.devices)}"
        _say(console, f"{of}: {_sizes(release)}.{taken(release)}")
        for remark in release.remarks:
            _say(console, f"    {remark}")
    if (needs := outlook.needs) is not None:
        _say(
            console,
            f"Making {'it' if len(outlook.releases) == 1 else 'them'} takes up to "
            f"{megabytes(needs.memory.bytes)} of this machine's memory (at the step "
            f"“{needs.memory.stage}”) and {megabytes(needs.disk_bytes)} of disk beside the output.",
        )
    if outlook.left_out:
        _say(console, f"Left out of the checkpoint: {'; '.join(outlook.left_out)}.")
    for remark in outlook.remarks:
        _say(console, remark)
    _say(console, NOBODY)


def _say_of_devices(console: Console, target: str, devices: Sequence[DeviceOutlook]) -> None:
    """Of those that are served together; behind the last what is the same for them all."""
    for device in devices:
        _say_verdict(console, device.verdict, device.verdict.profile)
        for other in device.also:
            _say_verdict(console, other.verdict, f"{device.verdict.profile}, release {other.release}")
    if len(devices) > 1:
        nearest = "" if devices[0].nearest is None else f" {devices[0].nearest}"
        _say(
            console,
            f"target {target}: one recipe and context serve its {len(devices)} devices, the best that fit "
            f"them all; --profile NAME instead gives each its own.{nearest}",
        )
    said = [each.verdict.reason for each in devices]
    for each in devices[0].rejected:
        _say(console, f"    not {each.recipe} at {each.context:,}: {not_yet(said, each.why)}.")
        said += each.why


def not_yet(said: Sequence[str], clauses: Sequence[str]) -> str:
    """The clauses that nothing said so far has, and that there are others. A source in brackets at the end
    of one is said once too."""
    new = [clause for clause in clauses if not any(clause in each for each in said)]
    short = [_without_source(clause, said) for clause in new]
    again = "and as said above" if short else "as said above"
    return "; ".join(short if len(new) == len(clauses) else [*short, again])


def _without_source(clause: str, said: Sequence[str]) -> str:
    at = max(clause.rfind(f" ({status}: ") for status in get_args(Status))
    return clause[:at] if at > 0 and any(clause[at:] in each for each in said) else clause


def _say_verdict(console: Console, verdict: DeviceVerdict, of: str) -> None:
    _say(console, f"{of}: {verdict.reason}")
    for artifact in verdict.artifacts:
        _say(console, f"    {artifact.format}: {by_component(artifact)}.")


def _sizes(release: ReleaseOutlook) -> str:
    known = release.artifact_bytes
    sizes = [f"{format} {megabytes(size)}" for format, size in known.items()]
    unknown = [
        f"{each}, which none of these devices is said to run"
        for each in release.formats
        if each not in known
    ]
    return ", ".join([*sizes, *unknown])


def print_profiles(profiles: Sequence[DeviceProfile], console: Console) -> None:
    table = Table()
    for name in ("profile", "device", "kind", "formats", "an app may use", "GB/s", "recipes", "sourced"):
        table.add_column(name, no_wrap=name == "profile")
    for each in profiles:
        facts = list(each.facts())
        sourced = sum(status == "sourced" for _, status, _ in facts)
        formats = ", ".join(
            f"{format} ({accelerator})" for format, accelerator in each.accelerators.items()
        )
        entitled = each.budget_with_entitlement
        budget = megabytes(each.budget) + ("" if entitled is None else f" ({megabytes(entitled)})")
        bandwidth = "–" if each.bandwidth is None else f"{each.bandwidth.gigabytes_per_second:g}"
        cells = (each.name, each.title, each.kind, formats, budget, bandwidth, ", ".join(each.recipe_order))
        table.add_row(*map(Text, (*cells, f"{sourced} of {len(facts)}")))
    print_fitted(table, console)


def verdict_sentence(verdict: DeviceVerdict) -> str:
    """What decided, and how fast each format would be there."""
    speeds = [
        f"{each.format} {speed(each.decode)}" for each in verdict.artifacts if each.decode is not None
    ]
    decode = f" Decode, tokens/s (estimate): {'; '.join(speeds)}." if speeds else ""
    return f"{verdict.profile}: {verdict.reason}{decode}"


def device_rows(device: DeviceOutlook) -> list[tuple[str, ...]]:
    """A row for each format of each release for it, the device's name in the first."""
    verdict = device.verdict
    no_release = device.release is None and verdict.fit != "does not fit"
    word = f"not made: {verdict.word}" if no_release else verdict.word
    rows = _verdict_rows(verdict, verdict.profile, word)
    for each in device.also:
        rows += _verdict_rows(each.verdict, "", each.verdict.word)
    return rows


def _verdict_rows(verdict: DeviceVerdict, name: str, word: str) -> list[tuple[str, ...]]:
    """What is of the whole release is in the first."""
    lead: tuple[str, ...] = (name, word, verdict.recipe, f"{verdict.context:,}")
    rows: list[tuple[str, ...]] = []
    for artifact in verdict.artifacts:
        takes, most, *allowed = in_one_unit(artifact.peak_bytes, artifact.most_bytes, *_allowed(verdict))
        cells = (
            f"{artifact.format}, {artifact.instead_of_gpu or artifact.accelerator}",
            megabytes(artifact.artifact_bytes),
            megabytes(artifact.cache_bytes),
            takes,
            most,
            budget(allowed, verdict.sourced),
            speed(artifact.decode),
        )
        rows.append((*lead, *cells))
        lead = ("", "", "", "")
    return rows


def by_component(artifact: ArtifactOnDevice) -> str:
    """Its peak, component by component, the largest first."""
    parts = sorted(artifact.memory.items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {megabytes(count)}" for name, count in parts)


def taken(release: ReleaseOutlook) -> str:
    """What it makes of an image and of a sound."""
    images, sound = release.image_tokens, release.sound
    said = "" if images is None else f" An image takes at most {images:,} soft tokens."
    if sound is not None:
        said += f" A sound takes at most {sound.words}."
    return said or " It takes text alone."


def _allowed(verdict: DeviceVerdict) -> tuple[int, ...]:
    """Bytes an app may use, and with the entitlement where there is one."""
    entitled = verdict.budget_with_entitlement_bytes
    return (verdict.budget_bytes,) if entitled is None else (verdict.budget_bytes, entitled)


def budget(allowed: Sequence[str], sourced: bool) -> str:
    """What an app may use, with the entitlement behind it, and whether that is known."""
    without, *entitled = allowed
    words = without + "".join(f" ({each})" for each in entitled)
    return words if sourced else f"{words}, unverified"


def speed(found: DecodeSpeed | None) -> str:
    """An interval and its ceiling."""
    if found is None:
        return "–"
    low, high, ceiling = map(per_second, (found.low, found.high, found.ceiling))
    return f"{low} to {high}, below {ceiling}"


def _say(console: Console, sentence: str) -> None:
    console.print(Text(sentence), soft_wrap=True)
