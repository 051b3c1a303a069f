"""A file of a release that says what is done to pictures or sounds before they enter an encoder, read as
strictly as the manifest.

Not about what stands in it (`images.processing`, `sounds.processing`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from runtimes.errors import ProcessingError
from runtimes.excerpt import excerpt
from runtimes.records import RecordError, from_plain
from runtimes.strict_json import StrictJsonError, read_json_object

LARGEST_PROCESSING = 1 << 20  # bytes; a real one has half a KB

Processing = TypeVar("Processing")


@dataclass(frozen=True)
class ProcessingFile(Generic[Processing]):
    """of: what stands in it. require_possible: raises RecordError for values that have the right type and
    cannot be. takes: what the release takes by it, in words. with_all_keys: parsed JSON with those that may
    be left out."""

    name: str
    schema_version: int
    of: type[Processing]
    require_possible: Callable[[Processing], None]
    takes: str
    with_all_keys: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def read(self, release: Path) -> Processing:
        """Raises ProcessingError naming file and key."""
        path = release / self.name
        raw = self._raw(path)
        if (version := raw.get("schema_version")) != self.schema_version:
            raise ProcessingError(
                f"{path}: schema_version is {excerpt(version)} and this version reads "
                f"{self.schema_version}; use the gemma-export that wrote it"
            )
        try:
            found = from_plain(self.of, self.with_all_keys(raw))
            self.require_possible(found)
        except RecordError as error:
            raise ProcessingError(f"{path}: {error}; copy the release again") from error
        return found

    def _raw(self, path: Path) -> dict[str, Any]:
        if path.is_symlink():
            raise ProcessingError(f"{path}: is a link; put the release's own file there")
        try:
            return read_json_object(path, LARGEST_PROCESSING)
        except FileNotFoundError as error:
            raise ProcessingError(
                f"{path}: no such file, and the release takes {self.takes} by it; copy the release again"
            ) from error
        except OSError as error:
            raise ProcessingError(
                f"{path}: cannot be read ({error.strerror}); check its permissions"
            ) from error
        except StrictJsonError as error:
            raise ProcessingError(
                f"{path}: cannot be read as JSON ({error}); copy the release again"
            ) from error


def require_marks(soft: int, begin: int, end: int, placeholder: str) -> None:
    """Raise RecordError for ids that are none or not three, and for a placeholder that is empty."""
    for name, value in (("soft", soft), ("begin", begin), ("end", end)):
        require_within(f"$.marks.{name}", value, 0, 1 << 31)
    if len({soft, begin, end}) < 3:
        raise RecordError("$.marks", "has the same id for two of soft, begin and end")
    if not placeholder:
        raise RecordError("$.marks.placeholder", "is empty")


def require_within(at: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise RecordError(at, f"expected {least} to {most}, got {excerpt(value)}")
