"""`release_directories`: where each release of a job goes.

Not about whether a directory may be written (`staging`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exporter.planning.releases import PlannedRelease, devices_in_short


def release_directories(
    model: str, releases: Sequence[PlannedRelease], output: Path | None
) -> tuple[Path, ...]:
    """--output, below it under what tells them apart where there are several, or a name made of model, the
    same, and target."""
    if output is None:
        names = (f"{model}-{each.label}-{devices_in_short(each.plan.variant.name)}" for each in releases)
        return tuple(Path("releases") / name for name in names)
    return (output,) if len(releases) == 1 else tuple(output / each.label for each in releases)
