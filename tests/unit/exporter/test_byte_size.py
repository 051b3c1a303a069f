"""Sizes on the command line."""

from __future__ import annotations

import pytest

from exporter.byte_size import parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 8 * 2**30), ("8 G", 8 * 2**30), ("16GB", 16 * 10**9), ("1.5gib", 3 * 2**29), ("4096", 4096)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "lots", "8 gallons", "-1GiB", "0GiB", "GiB"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give one like 8GiB"):
        parse_bytes(text)
