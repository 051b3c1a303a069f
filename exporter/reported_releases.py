"""What the reports of releases say, read from their directories: no checkpoint, no runtime, no torch.

A report is believed where it is the one its manifest lists. Not about what figures of two releases mean
beside each other (`exporter.validation.reported`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exporter.errors import ReleaseError, UsageError
from exporter.validation.reported import (
    ReportedRelease,
    ReportedReleases,
    reported_release,
    side_by_side,
)
from exporter.views.json_report import REPORT_NAME, read_report
from runtimes.manifest import MANIFEST_NAME, read_manifest, sha256_of


def read_reported(directories: Sequence[Path]) -> ReportedReleases:
    """Of releases alone. Raises UsageError for any other directory, and ReleaseError or ManifestError for
    files that are damaged, changed, or of another schema."""
    for directory in directories:
        if not _is_release(directory):
            raise UsageError(
                directory,
                "is not a release, and nothing else has a report",
                "name what an export has made; without --reported quantised checkpoints are compared too",
            )
    return reported_among(directories)


def reported_among(directories: Sequence[Path]) -> ReportedReleases:
    """The same, of those that are releases."""
    releases = [each for each in dict.fromkeys(directories) if _is_release(each)]
    return side_by_side([_read(each) for each in releases])


def _is_release(directory: Path) -> bool:
    return (directory / MANIFEST_NAME).is_file()


def _read(directory: Path) -> ReportedRelease:
    manifest, path = read_manifest(directory), directory / REPORT_NAME
    report = read_report(path)
    listed = {entry.path: entry.sha256 for entry in manifest.files}
    if listed.get(REPORT_NAME) != sha256_of(path):
        raise ReleaseError(
            path,
            f"is not the file that {MANIFEST_NAME} lists",
            "it was changed since the release was made: fetch it again, or export again",
        )
    return reported_release(str(directory), report, manifest.source["sha256"])
