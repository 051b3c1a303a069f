"""`PlacedRelease`: a release's directory and manifest, its text decoders and whether their files are there.

Whatever is small is read whole and held against its digest, which takes milliseconds. Not about digests of
large files, of which opening reads no more than it needs (`exporter.packaging.release`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import UsageError
from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.formats import Format
from runtimes.manifest import Artifact, EncoderArtifact, FileEntry, Manifest, read_manifest, sha256_of
from runtimes.open import open_session
from runtimes.session import Session

COPY_AGAIN = "copy the release again"
# Bytes: some 0.04 s. Of a bundle of a gigabyte it is 0.6 s and more, where opening it takes 3.
LARGEST_HASHED = 64 << 20
LOOKED_UP = "embed"  # what graphs that look tokens up are called by, beside decoders that take rows


@dataclass(frozen=True)
class PlacedRelease:
    """directory: where it lies. `open` makes one."""

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, directory: Path) -> PlacedRelease:
        """Raises ManifestError for what is no release."""
        return cls(directory, read_manifest(directory))

    def decoders(self, format: Format | None = None) -> tuple[Artifact, ...]:
        """The text decoders in the order of the manifest: of one format, or all for None.

        Raises UsageError for a format that is not in it.
        """
        every = [each for each in self.manifest.artifacts if each.component == "text"]
        found = tuple(each for each in every if format in (None, each.format))
        if not found:
            raise UsageError(
                f"--format {format}",
                f"{self.directory} has no artifact of it",
                f"choose {' or '.join(dict.fromkeys(each.format for each in every))}",
            )
        return found

    def files_of(self, artifact: Artifact | EncoderArtifact) -> tuple[FileEntry, ...]:
        """Those of a package, or the file and what lies beside it under its name: ONNX keeps its weights
        there. Of a tower, its decoder's too, with what looks tokens up for that."""
        begun: tuple[str, ...] = (artifact.path,)
        if isinstance(artifact, EncoderArtifact):
            folder = artifact.decoder.rpartition("/")[0]
            begun += (artifact.decoder, f"{folder}/{LOOKED_UP}") if folder else (artifact.decoder,)
        return tuple(each for each in self.manifest.files if each.path.startswith(begun))

    def require_whole(self, artifact: Artifact | EncoderArtifact) -> None:
        """Raise ArtifactError where a file of it is missing or of another size than the manifest says, or
        is small and of another digest."""
        for entry in self.files_of(artifact):
            path = self.directory / entry.path
            size = path.stat().st_size if path.is_file() else None
            if size != entry.size:
                what = "is missing" if size is None else f"has {size} bytes, the manifest says {entry.size}"
                raise ArtifactError(f"{path}: {what}; {COPY_AGAIN}")
            self._require_digest(entry)

    def require_as_sealed(self, *names: str) -> None:
        """Raise ArtifactError for a small file that is there and of another digest than the manifest's."""
        for entry in self.manifest.files:
            if entry.path in names and (self.directory / entry.path).is_file():
                self._require_digest(entry)

    def _require_digest(self, entry: FileEntry) -> None:
        path = self.directory / entry.path
        if path.stat().st_size <= LARGEST_HASHED and sha256_of(path) != entry.sha256:
            raise ArtifactError(f"{path}: was changed after the release was made; {COPY_AGAIN}")


@contextmanager
def first_that_opens(
    release: PlacedRelease, artifacts: tuple[Artifact, ...], passed_over: Callable[[str], None]
) -> Iterator[tuple[Artifact, Session]]:
    """The first of the artifacts whose runtime is here. passed_over: is told of those before it, in words.

    Raises RuntimeUnavailable where none is here, naming what to install for each.
    """
    missing: list[str] = []
    for artifact in artifacts:
        release.require_whole(artifact)
        try:
            session = open_session(release.directory, artifact)
        except RuntimeUnavailable as error:
            missing.append(f"{artifact.path}: {error}")
            continue
        for each in missing:
            passed_over(f"Passed over {each}")
        with session:
            yield artifact, session
        return
    raise RuntimeUnavailable("; ".join(missing))
