"""A release of two files, manifest and report, for what reads no more of one.

Its figures are those of tests/golden, under the names that a validation gives its subjects.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from exporter.validation.report import ValidationReport
from exporter.views.json_report import REPORT_NAME, to_json
from runtimes.manifest import MANIFEST_NAME, Artifact, ComponentEntry, FileEntry, Manifest, sha256_of
from tests.golden.reports import passing

SOURCE = {"config.json": "a" * 64, "model.safetensors": "b" * 64}


def report_of_three() -> ValidationReport:
    """LiteRT, ONNX and Core ML, each compared end to end."""
    report = passing()
    subjects = {run.artifact: run.subject for run in report.runs}
    comparisons = tuple(
        replace(each, subject=subjects[each.artifact])
        if each.kind == "end to end" and each.artifact is not None
        else each
        for each in report.comparisons
    )
    return replace(report, comparisons=comparisons)


def write_reported_release(
    directory: Path, report: ValidationReport, source: dict[str, str] | None = None
) -> Path:
    """source: digests of what it was made from."""
    directory.mkdir()
    (directory / REPORT_NAME).write_text(to_json(report), encoding="utf-8")
    seal(directory, report, SOURCE if source is None else source)
    return directory


def seal(directory: Path, report: ValidationReport, source: dict[str, str] = SOURCE) -> None:
    """Write the manifest of what is there."""
    text = directory / REPORT_NAME
    formats = [run.format for run in report.runs]
    manifest = Manifest(
        schema_version=2,
        model={"name": report.model, "model_type": "gemma3_text", "parameters": 1000, "left_out": []},
        source={"name": report.model, "sha256": source},
        components={"text": ComponentEntry("gemma3_text", 1000, ("tokens",), ("logits",))},
        versions=report.versions,
        plan={
            "recipe": report.recipe,
            "target": report.target,
            "formats": formats,
            "context": 2048,
            "schemes": {"int8": 40},
            "weight_bytes": 1000,
            "accelerators": dict.fromkeys(formats, "CPU"),
        },
        artifacts=tuple(
            Artifact("text", run.format, run.artifact, 2048, 512, 16, "last") for run in report.runs
        ),
        files=(FileEntry(REPORT_NAME, text.stat().st_size, sha256_of(text)),),
    )
    (directory / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
