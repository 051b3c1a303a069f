"""`device_verdicts`: what is predicted of a release's devices, with the sizes of what was written.

Not about how a verdict is come to (`exporter.planning.judging`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exporter.job import Job
from exporter.packaging.release import sizes
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.judging import judge
from exporter.planning.on_device import WrittenSizes
from exporter.planning.plan import Plan
from exporter.validation.report import ValidationReport


def device_verdicts(
    job: Job, plan: Plan, release: Path, report: ValidationReport
) -> Iterator[DeviceVerdict]:
    """Of the devices that the plan is meant for. release: the directory of what was written."""
    text = sizes(release).get("tokenizer.json", 0)
    written = WrittenSizes(text, {run.format: run.bytes for run in report.runs})
    for profile in plan.variant.devices:
        verdict = judge(job.source.components["text"].spec, plan, profile, written)
        if verdict is not None:
            yield verdict
