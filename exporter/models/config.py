"""Reading config.json strictly: every key is read, known to be irrelevant, or refused.

Not about any architecture: the readers in `exporter.models.text.families` say which keys matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.errors import SpecError
from exporter.models.key_lines import line_of
from exporter.models.known_keys import NEUTRAL, changes_nothing
from runtimes.excerpt import excerpt
from runtimes.strict_json import read_json_object

LARGEST_CONFIG = 16 << 20  # bytes; one with every layer written out has some 10 KB


@dataclass
class StrictConfig:
    """One object of a config file. `where` names file and path in it for errors.

    file: the file itself, where errors can tell a line of it. keys: what leads to this object in it.
    """

    where: str
    raw: Mapping[str, Any]
    file: Path | None = None
    keys: tuple[str, ...] = ()
    _read: set[str] = field(default_factory=set)

    def integer(self, key: str) -> int:
        """A positive integer."""
        value = self._required(key)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise self._wrong(key, value, "a positive integer")
        return value

    def number(self, key: str) -> float:
        """A positive number."""
        value = self._required(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            raise self._wrong(key, value, "a positive number")
        try:
            return float(value)
        except OverflowError as error:
            raise self._wrong(key, value, "a number that a float can hold") from error

    def optional_number(self, key: str) -> float | None:
        """A positive number, or None where the key says null. An absent key is an error."""
        return None if self._required(key) is None else self.number(key)

    def boolean(self, key: str) -> bool:
        value = self._required(key)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def string(self, key: str) -> str:
        value = self._required(key)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        value = self._required(key)
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self._wrong(key, value, "a list of strings")
        return tuple(value)

    def child(self, key: str) -> StrictConfig:
        """A nested object, read as strictly."""
        value = self._required(key)
        if not isinstance(value, Mapping):
            raise self._wrong(key, value, "an object")
        return StrictConfig(f"{self.where}.{key}", value, self.file, (*self.keys, key))

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        self._read.add(key)
        return self.raw.get(key) is not None

    def expect(self, key: str, *allowed: object) -> None:
        """The key, where present, must hold one of these values: others are not implemented."""
        self._read.add(key)
        if key in self.raw and self.raw[key] not in allowed:
            raise self._wrong(key, self.raw[key], " or ".join(repr(value) for value in allowed))

    def ignore(self, *keys: str) -> None:
        """Keys this architecture carries but does not use."""
        self._read.update(keys)

    def refuse_unread(self) -> None:
        """Raise SpecError for a key nobody asked for: it may change what the model computes."""
        for key, allowed in NEUTRAL.items():
            if key not in self._read:
                self.expect(key, *allowed)
        unknown = sorted(key for key in set(self.raw) - self._read if not changes_nothing(key))
        if unknown:
            raise SpecError(
                self.where,
                f"unknown key {excerpt(unknown[0])}{self._place(unknown[0])}",
                "it may change what the model computes, and this gemma-export does not know it; if it does "
                "not, delete it there, and the export goes on without it",
            )

    def _place(self, key: str) -> str:
        if self.file is None:
            return ""
        try:
            line = line_of(self.file.read_text(encoding="utf-8"), (*self.keys, key))
        except (OSError, ValueError):
            return ""
        return "" if line is None else f" in line {line}"

    def _required(self, key: str) -> Any:
        self._read.add(key)
        if key not in self.raw:
            raise SpecError(
                self.where, f"key {key!r} is missing", f"fetch the checkpoint's {self._name} again"
            )
        return self.raw[key]

    def _wrong(self, key: str, value: object, expected: str) -> SpecError:
        return SpecError(
            f"{self.where}.{key}",
            f"expected {expected}, got {excerpt(value)}",
            f"correct it, or fetch the checkpoint's {self._name} again",
        )

    @property
    def _name(self) -> str:
        return "config.json" if self.file is None else self.file.name


def load_config(path: Path) -> dict[str, Any]:
    """config.json as a dictionary. Raises SpecError when absent or not a JSON object."""
    try:
        return read_json_object(path, LARGEST_CONFIG)
    except FileNotFoundError as error:
        raise SpecError(path, "no such file", "give a directory with a config.json") from error
    except (OSError, ValueError) as error:
        raise SpecError(path, f"cannot be read as JSON ({error})", "fetch it again") from error
