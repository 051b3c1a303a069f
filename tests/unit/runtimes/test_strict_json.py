"""What the one JSON reader refuses, and that it reads everything else as json does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runtimes.strict_json import DEEPEST, StrictJsonError, parse_json, parse_json_object, read_json_object


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nested(DEEPEST + 1), "is nested more than 64 deep"),
        ("[" * 100_000, "is nested more than 64 deep"),
        ('{"a":' * 100_000, "is nested more than 64 deep"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        ('{"x": {"a": 1, "a": 1}}', "the key 'a' is there twice"),
        ("9" * 5000, "has 5000 digits"),
        ("-" + "9" * 64, "has 65 digits"),
        ("1e999", "the number '1e999' is beyond what a float holds"),
        ("NaN", "NaN is no number of JSON"),
        ("[1, -Infinity]", "-Infinity is no number of JSON"),
        ('["\\ud800"]', "holds half a character"),
        ('{"\\uDC00": 1}', "holds half a character"),
        ("", "Expecting value, line 1 column 1"),
        ("{} {}", "Extra data, line 1 column 4"),
        (b"\xff\xfe{\x00}\x00", "is UTF-16: save it as UTF-8"),
        ("{}".encode("utf-16-be"), "Expecting value, line 1"),
        (b'{"a": "\xc3"}', "is not UTF-8 at byte 7"),
        ("\ufeff{}", "begins with a byte order mark: save it as UTF-8 without one"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark: save it as UTF-8 without one"),
    ],
)
def test_what_is_not_json_is_refused_with_the_reason(text: str | bytes, said: str) -> None:
    with pytest.raises(StrictJsonError, match=said) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        nested(DEEPEST),
        "9" * 64,
        "-9223372036854775808",
        '["\\ud83d\\ude00", "é", null]',
        "1e300",
        " [] ",
    ],
)
def test_everything_else_is_read_as_json_reads_it(text: str) -> None:
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", ["[]", '"text"', "3", "null"])
def test_another_type_at_the_top_is_refused(text: str) -> None:
    with pytest.raises(StrictJsonError, match="expected an object, got"):
        parse_json_object(text)


def test_more_bytes_than_the_limit_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(" " * 100 + "{}", encoding="utf-8")
    assert read_json_object(path, 102) == {}
    with pytest.raises(StrictJsonError, match="has 102 bytes, and 101 are read at most"):
        read_json_object(path, 101)


def test_a_pipe_a_directory_and_a_device_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", tmp_path, Path("/dev/zero")):
        with pytest.raises(StrictJsonError, match="is not a plain file"):
            read_json_object(path)


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json_object(tmp_path / "missing.json")
