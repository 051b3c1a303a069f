"""Records: what is refused, with which path, and that decoding undoes encoding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from runtimes.records import RecordError, from_plain, to_plain


@dataclass(frozen=True)
class Circle:
    radius: float


@dataclass(frozen=True)
class Square:
    side: int


@dataclass(frozen=True)
class Drawing:
    name: str
    colour: Literal["red", "blue"]
    shape: Circle | Square
    visible: bool
    marks: tuple[int, ...]
    notes: dict[str, str]
    scale: float | None


def drawing() -> dict[str, Any]:
    return {
        "name": "d",
        "colour": "red",
        "shape": {"is": "circle", "radius": 1},
        "visible": True,
        "marks": [1, 2],
        "notes": {"a": "b"},
        "scale": None,
    }


def test_decoding_undoes_encoding() -> None:
    for shape in (Circle(1.5), Square(2)):
        value = Drawing("d", "blue", shape, False, (), {}, 0.5)
        assert from_plain(Drawing, to_plain(value)) == value


def test_an_integer_is_taken_for_a_float_and_nothing_else_is_converted() -> None:
    decoded = from_plain(Drawing, drawing())
    assert decoded.shape == Circle(1.0)
    assert isinstance(decoded.shape, Circle)
    assert isinstance(decoded.shape.radius, float)


def test_an_integer_where_a_float_is_declared_is_written_as_one() -> None:
    assert repr(to_plain(Circle(1))["radius"]) == "1.0"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_json_has_no_word_for_survive_as_strings(value: float) -> None:
    encoded = to_plain(Circle(value))
    assert isinstance(encoded["radius"], str)
    assert repr(from_plain(Circle, encoded).radius) == repr(value)


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"extra": 1}, "$.extra"),
        ({"name": 3}, "$.name"),
        ({"colour": "green"}, "$.colour"),
        ({"visible": 1}, "$.visible"),
        ({"marks": [1, True]}, "$.marks[1]"),
        ({"marks": "12"}, "$.marks"),
        ({"notes": {"a": 1}}, "$.notes.a"),
        ({"scale": "much"}, "$.scale"),
        ({"shape": {"is": "triangle"}}, "$.shape.is"),
        ({"shape": {"radius": 1.0}}, "$.shape.is"),
        ({"shape": {"is": "circle", "radius": 1.0, "side": 2}}, "$.shape.side"),
        ({"shape": {"is": "square", "side": 1.5}}, "$.shape.side"),
        ({"shape": []}, "$.shape"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(change: dict[str, Any], at: str) -> None:
    with pytest.raises(RecordError) as caught:
        from_plain(Drawing, drawing() | change)
    assert caught.value.at == at


def test_a_missing_key_is_refused_even_where_none_is_allowed() -> None:
    raw = drawing()
    del raw["scale"]
    with pytest.raises(RecordError, match=r"\$\.scale: key is missing"):
        from_plain(Drawing, raw)
    assert from_plain(Drawing, raw, absent_is_none=True).scale is None
    del raw["name"]
    with pytest.raises(RecordError, match=r"\$\.name"):
        from_plain(Drawing, raw, absent_is_none=True)
