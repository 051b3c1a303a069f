"""An error repeats 200 characters of what it refuses, and building it never fails."""

from __future__ import annotations

from typing import Any

import pytest

from runtimes.excerpt import LONGEST, excerpt, plain_excerpt

LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    ["a" * 10_000, b"\0" * 10_000, list(range(10_000)), {"k" * 9000: ["v" * 9000] * 9}, LOOP, 1 << 100_000],
    ids=["str", "bytes", "list", "dict", "loop", "int"],
)
def test_at_most_200_characters_are_shown(value: object) -> None:
    assert 0 < len(excerpt(value)) <= LONGEST


@pytest.mark.parametrize("value", ["a", 3, -1.5, None, True, [1, "b"], {"a": [None]}])
def test_what_is_short_is_shown_whole(value: object) -> None:
    assert excerpt(value) == repr(value)


def test_the_start_of_what_is_long_is_shown() -> None:
    assert excerpt("a" * 1000).startswith("'aaa")
    assert excerpt("a" * 1000).endswith("...")


def test_control_characters_of_a_plain_text_are_escaped() -> None:
    assert plain_excerpt("a\n\x1b[31mb é") == r"a\n\x1b[31mb é"
    assert len(plain_excerpt("\n" * 1000)) == LONGEST
