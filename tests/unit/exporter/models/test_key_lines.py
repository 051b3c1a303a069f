"""Lines of keys in JSON, whatever stands around them."""

from __future__ import annotations

import pytest

from exporter.models.key_lines import line_of

TEXT = """{
 "a": 1, "b": {"a": [1, {"a": 2}],
  "c": "\\"a\\": {"
 },
 "text_config": {
  "a": ["x"],

  "d\\u00e9": null}
}"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 2),
        (("b",), 2),
        (("b", "c"), 3),
        (("text_config",), 5),
        (("text_config", "a"), 6),
        (("text_config", "dé"), 8),
        (("x",), None),
        (("c",), None),
    ],
)
def test_a_key_is_found_by_what_leads_to_it(path: tuple[str, ...], line: int | None) -> None:
    assert line_of(TEXT, path) == line


def test_of_a_key_that_is_there_twice_the_last_counts() -> None:
    assert line_of('{"a": 1,\n"a": 2}', ("a",)) == 2
