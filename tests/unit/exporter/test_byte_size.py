"""Sizes on the command line."""

from __future__ import annotations

import pytest

from exporter.byte_size import exact_size, in_one_unit, megabytes, no_less_than, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 8 * 2**30), ("8 G", 8 * 2**30), ("16GB", 16 * 10**9), ("1.5gib", 3 * 2**29), ("4096", 4096)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lots",
        "8 gallons",
        "-1GiB",
        "0GiB",
        "GiB",
        "0.1",
        "٤GB",
        "8388608TiB",
        "9" * 400,
        "9" * 400 + "GB",
    ],
)
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give one like 8GiB"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["8 GiB", "1 MB", "1 byte", "1,234 bytes", "512 MiB", "24 GB", "3 TiB"])
def test_a_size_is_repeated_as_whoever_gave_it_wrote_it(text: str) -> None:
    given = text.replace(",", "").replace("bytes", "").replace("byte", "")
    assert exact_size(parse_bytes(given)) == text


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_400, "1.4 kB"), (2_300_000, "2.3 MB"),
     (309_200_000, "309 MB"), (4_294_967_296, "4,295 MB")],
)  # fmt: skip
def test_no_size_is_so_small_that_its_unit_shows_none_of_it(count: int, words: str) -> None:
    assert megabytes(count) == words


@pytest.mark.parametrize("count", [1, 1025, 10**6, 4 * 2**30 + 1, 9_999_999_999])
def test_a_limit_of_what_is_said_to_be_taken_is_enough(count: int) -> None:
    words = no_less_than(count, 8 * 2**30)
    assert parse_bytes(words.replace(",", "").replace(" bytes", "").replace(" byte", "")) >= count
    assert not words.startswith("0")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((5_000_000_000, 4_294_967_296), ("5,000 MB", "4,295 MB")),
        ((5_500_000, 20_000_000), ("5.5 MB", "20 MB")),
        ((4_294_967_297, 4_294_967_296), ("4,294,967,297 bytes", "4,294,967,296 bytes")),
        (
            (4_294_967_297, 4_939_212_390, 4_294_967_296),
            ("4,294,967,297 bytes", "4,939,212,390 bytes", "4,294,967,296 bytes"),
        ),
        ((3_000_000_000, 640_000), ("3,000,000,000 bytes", "640,000 bytes")),
        ((3_000_000_000, 640_000, 1), ("3,000,000,000 bytes", "640,000 bytes", "1 byte")),
        ((600, 600), ("600 bytes", "600 bytes")),
        ((4_294_967_296, 4_294_967_296), ("4,295 MB", "4,295 MB")),
    ],
)
def test_sizes_held_against_each_other_have_one_unit_that_tells_them_apart(
    counts: tuple[int, ...], words: tuple[str, ...]
) -> None:
    assert in_one_unit(*counts) == words
