"""Parsed JSON or TOML to frozen dataclasses and back, strictly: the dataclass is the schema.

Unknown keys, missing keys and wrong types are refused with their path. Not about any one file's
meaning, nor about its text: callers parse it, and turn `RecordError` into an error of their own.
"""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from runtimes.excerpt import excerpt, plain_excerpt

T = TypeVar("T")

TAG = "is"
"""Key that tells the members of a union of dataclasses apart: the class's name in lower case."""

# JSON has no word for these; a string keeps the file readable by every parser.
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NAMES = {repr(figure): name for name, figure in _NON_FINITE.items()}


class RecordError(ValueError):
    """at: path of the value ("$.gates[3].verdict"). what: what is wrong with it."""

    def __init__(self, at: str, what: str) -> None:
        at = plain_excerpt(at)
        super().__init__(f"{at}: {what}")
        self.at = at
        self.what = what


def from_plain(kind: type[T], raw: object, *, absent_is_none: bool = False, at: str = "$") -> T:
    """Build `kind`, a dataclass or a TypedDict, from parsed JSON or TOML.

    absent_is_none: a key whose type admits None may be left out, as TOML has no null.
    Raises RecordError.
    """
    return _object(kind, raw, at, absent_is_none, frozenset())  # type: ignore[no-any-return]  # checked by shape


def to_plain(value: object) -> dict[str, Any]:
    """A dataclass as JSON's types: `from_plain(type(value), to_plain(value)) == value`, NaN aside."""
    encoded = _encode(type(value), value)
    assert isinstance(encoded, dict)
    return encoded


def _decode(kind: Any, raw: object, at: str, absent_is_none: bool) -> Any:
    if kind is float:
        return _number(raw, at)
    if kind in (str, int, bool):
        if type(raw) is not kind:
            raise RecordError(at, f"expected `{kind.__name__}`, got {_shown(raw)}")
        return raw
    if is_dataclass(kind) or is_typeddict(kind):
        return _object(kind, raw, at, absent_is_none, frozenset())
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if not any(type(raw) is type(each) and raw == each for each in arguments):
            raise RecordError(at, f"expected one of {', '.join(map(repr, arguments))}, got {_shown(raw)}")
        return raw
    if origin in (tuple, list):
        if not isinstance(raw, list):
            raise RecordError(at, f"expected an array, got {_shown(raw)}")
        return origin(
            _decode(arguments[0], each, f"{at}[{i}]", absent_is_none) for i, each in enumerate(raw)
        )
    if origin is dict:
        return {
            _decode(arguments[0], key, f"a key of {at}", absent_is_none): _decode(
                arguments[1], each, f"{at}.{key}", absent_is_none
            )
            for key, each in _members(raw, at).items()
        }
    if origin in (UnionType, Union):  # `Literal[…] | None` is the latter
        return _union(arguments, raw, at, absent_is_none)
    raise TypeError(f"{at}: {kind!r} is not a type of records")


def _union(kinds: tuple[Any, ...], raw: object, at: str, absent_is_none: bool) -> Any:
    if NoneType in kinds:
        if raw is None:
            return None
        kinds = tuple(kind for kind in kinds if kind is not NoneType)
    if len(kinds) == 1:
        return _decode(kinds[0], raw, at, absent_is_none)
    tagged = {kind.__name__.lower(): kind for kind in kinds}
    tag = _members(raw, at).get(TAG)
    if not isinstance(tag, str) or tag not in tagged:
        raise RecordError(
            f"{at}.{TAG}", f"expected one of {', '.join(map(repr, tagged))}, got {_shown(tag)}"
        )
    return _object(tagged[tag], raw, at, absent_is_none, frozenset({TAG}))


def _object(kind: Any, raw: object, at: str, absent_is_none: bool, beside: frozenset[str]) -> Any:
    members = _members(raw, at)
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(hints)
    if unknown := sorted(set(members) - set(names) - beside):
        raise RecordError(f"{at}.{unknown[0]}", f"unknown key; known here: {', '.join(sorted(names))}")
    values: dict[str, Any] = {}
    for name in names:
        if name not in members:
            if absent_is_none and NoneType in get_args(hints[name]):
                values[name] = None
                continue
            raise RecordError(f"{at}.{name}", "key is missing")
        values[name] = _decode(hints[name], members[name], f"{at}.{name}", absent_is_none)
    return kind(**values)


def _encode(kind: Any, value: Any) -> Any:
    if kind is float or isinstance(value, float):
        figure = float(value)  # an integer may stand where a float is declared
        return figure if math.isfinite(figure) else _NAMES[repr(figure)]
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        members = {
            field.name: _encode(hints[field.name], getattr(value, field.name)) for field in fields(value)
        }
        alternatives = [each for each in get_args(kind) if each is not NoneType]
        return {TAG: type(value).__name__.lower(), **members} if len(alternatives) > 1 else members
    if isinstance(value, tuple):
        return [_encode(get_args(kind)[0], each) for each in value]
    if isinstance(value, dict):
        return {key: _encode(get_args(kind)[1], each) for key, each in value.items()}
    return value


def _number(raw: object, at: str) -> float:
    if isinstance(raw, str) and raw in _NON_FINITE:
        return _NON_FINITE[raw]
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise RecordError(at, f"expected `float`, got {_shown(raw)}")
    try:
        return float(raw)
    except OverflowError as error:
        raise RecordError(at, f"expected `float`, got {_shown(raw)}") from error


def _members(raw: object, at: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise RecordError(at, f"expected an object, got {_shown(raw)}")
    return raw


def _shown(raw: object) -> str:
    return f"`{type(raw).__name__}` {excerpt(raw)}"
