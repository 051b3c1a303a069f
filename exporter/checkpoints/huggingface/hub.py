"""Fetching a published checkpoint from the Hugging Face Hub into the Hub's own cache.

Only the files a source reads are fetched. What is in the cache already is used without a network. Not
about names (`exporter.models.published_names`) or about reading the files (`source`).
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from exporter.checkpoints.files.hub_layout import (
    LEGAL_FILES,
    PROCESSOR_FILES,
    SHARDS,
    SMALL_FILES,
    WEIGHTS,
)
from exporter.errors import CheckpointError
from exporter.models.published_names import PublishedName
from runtimes.excerpt import excerpt, plain_excerpt
from runtimes.inside import is_inside

WANTED = (*SMALL_FILES, *PROCESSOR_FILES, WEIGHTS, SHARDS, *LEGAL_FILES)
REFUSALS = (401, 403)


def fetch(name: PublishedName) -> Path:
    """The directory of the Hub's cache that holds the checkpoint, fetched first where need be.

    An interrupted download goes on where it stopped the next time. Raises CheckpointError where the Hub
    cannot be reached, does not have it, or does not let this account have it, and where the cache leads out
    of itself.
    """
    cache = Path(constants.HF_HUB_CACHE)
    try:
        found = Path(
            snapshot_download(
                name.repository, revision=name.revision, cache_dir=cache, allow_patterns=list(WANTED)
            )
        )
    except Exception as error:  # connections fail with exceptions of whichever client the package uses
        raise _explained(name, error) from error
    _require_snapshot(found, cache / f"models--{name.repository.replace('/', '--')}", name)
    return found


def _require_snapshot(found: Path, home: Path, name: PublishedName) -> None:
    """A ref of the cache is a file like any other: what it holds may be a path to somewhere else."""
    snapshots = home / "snapshots"
    if not is_inside(snapshots, found) or found.resolve() == snapshots.resolve():
        raise CheckpointError(
            home,
            f"leads to {plain_excerpt(found)}, which is no snapshot of {name.repository}",
            "delete this directory, and it is fetched again",
        )


def _explained(name: PublishedName, error: Exception) -> CheckpointError:
    where = f"{name.repository} on the Hugging Face Hub"
    # The package tries its cache after a failure, and then reports that the cache did not help.
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
    match cause:
        case RevisionNotFoundError():
            return CheckpointError(
                where,
                f"has no branch, tag or commit {excerpt(name.revision)}",
                "leave out what follows the @",
            )
        case OfflineModeIsEnabled() | None:
            return CheckpointError(
                where,
                "is not wholly in the local cache, and HF_HUB_OFFLINE forbids fetching it",
                "unset HF_HUB_OFFLINE, or give a directory",
            )
        case GatedRepoError():
            return _no_access(name, where, "is only for accounts that accepted its licence")
        case RepositoryNotFoundError():
            return _no_access(name, where, "is not there, or not for this account")
        case HfHubHTTPError() if cause.response.status_code in REFUSALS:
            return _no_access(name, where, "is not for this account")
    return CheckpointError(
        where,
        f"cannot be fetched ({_first_line(cause)})",
        "try again with a network; what was fetched is kept. Or give a directory",
    )


def _no_access(name: PublishedName, where: str, what: str) -> CheckpointError:
    return CheckpointError(
        where,
        what,
        f"accept the licence at https://huggingface.co/{name.repository}, log in with `hf auth login`, "
        "and try again",
    )


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {plain_excerpt(lines[0])}" if lines else type(error).__name__
