"""`device_verdicts`: what is predicted of a release's devices, with the sizes of what was written.

Not about how a verdict is come to (`exporter.planning.judging`).
"""

from __future__ import annotations

from collections.abc import Iterator

from exporter.formats.artifact_bytes import artifact_files
from exporter.job import Job
from exporter.packaging.release import sizes
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.judging import judge
from exporter.planning.on_device import WrittenSizes
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.report import ValidationReport
from runtimes.formats import Format
from runtimes.manifest import Artifact, EncoderArtifact


def device_verdicts(
    job: Job, release: ReleaseUnderTest, report: ValidationReport
) -> Iterator[DeviceVerdict]:
    """Of the devices that its plan is meant for. A tower that lies apart is counted with its format."""
    text = sizes(release.directory).get("tokenizer.json", 0)
    found = {run.format: run.bytes for run in report.runs}
    files: dict[Format, dict[str, int]] = {}
    decoders = {artifact.path for artifact in release.artifacts}
    parts: tuple[Artifact | EncoderArtifact, ...] = (*release.artifacts, *release.encoders)
    for part in parts:
        there = {each.name: each.stat().st_size for each in artifact_files(release.directory / part.path)}
        files[part.format] = {**files.get(part.format, {}), **there}
        if part.path not in decoders and part.format in found:
            found[part.format] += sum(there.values())
    written, plan = WrittenSizes(text, found, files), release.plan
    for profile in plan.variant.devices:
        verdict = judge(job.source.components["text"].spec, plan, profile, written)
        if verdict is not None:
            yield verdict
