"""docs/devices.md: what `gemma-export plan` says of four published models on every device with a profile.

    python -m benchmarks.device_table

Writes the document; a test holds it equal to what this would write. Needs no weights and no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exporter.byte_size import megabytes
from exporter.models.published_names import resolve_name
from exporter.parameter_count import parameters
from exporter.planning.candidates import AskedFor
from exporter.planning.outlook import DeviceOutlook, Outlook, PlanOrder, look_ahead
from exporter.planning.profiles import load_device, load_profile, profile_names
from exporter.views.plan_tables import COLUMNS, NOBODY, device_rows, not_yet

DOCUMENT = Path(__file__).parents[1] / "docs" / "devices.md"
MODELS = ("2b", "9b", "gemma-4-E2B", "gemma-4-12B")
HEAD = """# What fits which device

Written by `python -m benchmarks.device_table` from the profiles in `device_profiles/`; do not edit.
{nobody}
Recipes compete in the order of the profile or its kind, then contexts become shorter; what is in the rows
below is the best that fits, or the last that was tried where nothing does; then the last column says what
can be asked for all the same, or names the smallest there is, which is no row, and what it takes. "peak"
counts what the device's own metric counts (docs/adr/0029), "at most" that with the error of predicting it
(docs/adr/0038), against what an app may use, in brackets with the increased-memory-limit entitlement.
Decode is what published measurements reach of the bandwidth (`python -m benchmarks.decode_speed`), below
what weights alone allow.
{share}
"""


def document() -> str:
    """The whole of it."""
    facts = [status for name in profile_names() for _, status, _ in load_profile(name).facts()]
    share = (
        f"Of {len(facts)} facts in {len(profile_names())} profiles {facts.count('sourced')} are sourced."
    )
    parts = [HEAD.format(nobody=NOBODY, share=share)]
    targets = tuple(load_device(name) for name in profile_names())
    for model in MODELS:
        outlook = look_ahead(PlanOrder(model, None, targets, AskedFor()))
        parts.append("\n".join(_section(model, outlook)) + "\n")
    return "\n".join(parts)


def _section(model: str, outlook: Outlook) -> Iterator[str]:
    name = resolve_name(model)
    yield f"## {model}: {outlook.model}, {parameters(outlook.parameters)}"
    yield ""
    if name is not None:
        yield f"{name}."
        yield ""
    for release in outlook.releases:
        sizes = ", ".join(f"{format} {megabytes(size)}" for format, size in release.artifact_bytes.items())
        yield f"- release `{release.label}`: {sizes}; for {', '.join(release.devices)}"
    yield ""
    yield f"| {' | '.join(COLUMNS)} | instead of |"
    yield "|---" * (len(COLUMNS) + 1) + "|"
    for device in outlook.devices:
        why = _rejected(device)
        for row in device_rows(device):
            yield f"| {' | '.join(row)} | {why} |"
            why = ""


def _rejected(device: DeviceOutlook) -> str:
    """The better candidates and the first thing each missed; what is nearest where nothing fits."""
    if device.release is None:
        return device.nearest or ""
    parts: list[str] = []
    for each in device.rejected:
        parts.append(f"{each.recipe} at {each.context:,}: {not_yet(parts, each.why[:1])}")
    return "; ".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
