"""Reading JSON that somebody else wrote: the one place where `exporter` and `runtimes` parse a file of it.

Refused before a caller sees a value: what is not a plain file, more bytes than a limit, what is not UTF-8,
nesting no honest file has, a key that is there twice, integers of thousands of digits, numbers that are
none, half characters, and another type at the top than asked for. Not about which keys there are
(`runtimes.records`). Errors are `StrictJsonError` and OSError: which file it was, each caller says.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from runtimes.excerpt import excerpt

LARGEST_FILE = 256 << 20  # bytes; Gemma's tokenizer.json, the largest there is, has 33 MB
DEEPEST = 64  # a tokenizer.json is 8 deep
LONGEST_INTEGER = 64  # digits; 64 bits take 20, and no number here means more

_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


class StrictJsonError(ValueError):
    """Text that is not JSON as it is read here, and why. With which file, the caller says."""


def read_json_object(path: Path, largest: int = LARGEST_FILE) -> dict[str, Any]:
    """The object in a file. Raises StrictJsonError, and OSError for a file that cannot be read."""
    return parse_json_object(read_plain_file(path, largest), largest)


def parse_json_object(text: str | bytes, largest: int = LARGEST_FILE) -> dict[str, Any]:
    """The object a text holds. Raises StrictJsonError."""
    found = parse_json(text, largest)
    if not isinstance(found, dict):
        raise StrictJsonError(f"expected an object, got {excerpt(found)}")
    return found


def parse_json(text: str | bytes, largest: int = LARGEST_FILE) -> Any:
    """The value a text holds: of dict, list, str, int, float, bool and None. Raises StrictJsonError."""
    if len(text) > largest:
        raise StrictJsonError(f"has {len(text)} bytes, and {largest} are read at most")
    if isinstance(text, bytes):
        text = _decoded(text)
    if text.startswith("\ufeff"):
        raise StrictJsonError("begins with a byte order mark: save it as UTF-8 without one")
    try:
        found = json.loads(
            text,
            object_pairs_hook=_once_each,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_number,
        )
    except StrictJsonError:
        raise
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"{error.msg}, line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise StrictJsonError(f"is nested more than {DEEPEST} deep") from error
    _require_shallow(found)
    if _HALF_CHARACTER.search(text):
        _require_whole_characters(found)
    return found


def read_plain_file(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """A file's bytes: never more than `largest`, never from a pipe or a device, which may have no end.

    Raises StrictJsonError, and OSError for a file that cannot be opened.
    """
    with plain_file(path) as descriptor:
        if (size := os.fstat(descriptor).st_size) > largest:
            raise StrictJsonError(f"has {size} bytes, and {largest} are read at most")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(largest + 1)


@contextmanager
def plain_file(path: Path) -> Iterator[int]:
    """The descriptor of a file, open to be read; raises as `read_plain_file`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
    except ValueError as error:  # a NUL in the name
        raise StrictJsonError("is a name no file can have") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StrictJsonError("is not a plain file")
        yield descriptor
    finally:
        os.close(descriptor)


def _decoded(text: bytes) -> str:
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise StrictJsonError("is UTF-16: save it as UTF-8")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"is not UTF-8 at byte {error.start}") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise StrictJsonError(f"the key {excerpt(twice)} is there twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise StrictJsonError(f"the number {excerpt(digits)} has {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise StrictJsonError(f"the number {excerpt(digits)} is beyond what a float holds")
    return value


def _no_number(word: str) -> NoReturn:
    raise StrictJsonError(f"{word} is no number of JSON")


def _require_shallow(found: object) -> None:
    """Level by level: what recurses over the value later must not run out of stack."""
    level, depth = [found], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise StrictJsonError(f"is nested more than {DEEPEST} deep")
        level = [child for each in level for child in _children(each) if isinstance(child, dict | list)]


def _require_whole_characters(found: object) -> None:
    """An escaped half of a pair is a string no file can be written with."""
    level = [found]
    while level:
        texts = [each for each in level if isinstance(each, str)]
        texts += [key for each in level if isinstance(each, dict) for key in each]
        for text in texts:
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise StrictJsonError(f"the text {excerpt(text)} holds half a character") from error
        level = [child for each in level for child in _children(each)]


def _children(value: object) -> list[Any]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
    return []
