"""`model.mlmodel`: the model's outer messages, and the program they hold.

Features tell what an application may pass in; what is computed is in `messages`. Strict in the same
way: a field without a meaning here is refused.
Field numbers: mlmodel/format/{Model,FeatureTypes}.proto of Apple's coremltools.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtimes.mil.messages import ProgramFunction, read_functions
from runtimes.mil.wire import WireError, fields

ML_PROGRAM_FIELD = 502


@dataclass(frozen=True)
class Feature:
    """An input or output as the model's interface describes it.

    ranges: (least, most) per dimension; most is None where unbounded. None where not given.
    """

    name: str
    ranges: tuple[tuple[int, int | None], ...] | None


@dataclass(frozen=True)
class Interface:
    """The features of one function (the default one of a single-function model)."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    states: tuple[Feature, ...]


@dataclass(frozen=True)
class ModelMessage:
    """interfaces: by function name; the name "" stands for a model that does not name functions. facts:
    what whoever made the model says of it, by name."""

    specification_version: int
    interfaces: dict[str, Interface]
    default_function: str
    functions: dict[str, ProgramFunction]
    facts: dict[str, str]


def read_model(data: memoryview) -> ModelMessage:
    """Parse `model.mlmodel`. Raises WireError saying which message and field is not understood."""
    version, program = 0, None
    interfaces: dict[str, Interface] = {}
    default, facts = "", dict[str, str]()
    for field in fields(data, "Model"):
        match field.number:
            case 1:
                version = field.signed()
            case 2:
                interfaces, default, facts = _description(field.submessage())
            case 10:
                if field.flag():
                    raise WireError("Model: an updatable model is not a released artifact")
            case _ if field.number == ML_PROGRAM_FIELD:
                program = read_functions(field.submessage())
            case _:
                raise field.unknown()
    if program is None:
        raise WireError("Model: not an ML Program")
    return ModelMessage(version, interfaces, default, program, facts)


def _description(data: memoryview) -> tuple[dict[str, Interface], str, dict[str, str]]:
    top: dict[int, list[Feature]] = {1: [], 10: [], 13: []}
    named: dict[str, Interface] = {}
    default, facts = "", dict[str, str]()
    for field in fields(data, "ModelDescription"):
        match field.number:
            case 1 | 10 | 13:
                top[field.number].append(_feature(field.submessage()))
            case 20:
                name, interface = _function_description(field.submessage())
                named[name] = interface
            case 21:
                default = field.text()
            case 100:
                facts.update(_facts(field.submessage()))
            case 11 | 12:  # names of predicted classes
                continue
            case _:
                raise field.unknown()
    return named or {"": Interface(*(tuple(top[n]) for n in (1, 10, 13)))}, default, facts


def _facts(data: memoryview) -> Iterator[tuple[str, str]]:
    """What is said by name; of what is said in words nothing is computed."""
    for field in fields(data, "Metadata"):
        match field.number:
            case 1 | 2 | 3 | 4:
                continue
            case 100:
                yield _fact(field.submessage())
            case _:
                raise field.unknown()


def _fact(data: memoryview) -> tuple[str, str]:
    parts = {1: "", 2: ""}
    for field in fields(data, "Metadata.userDefined"):
        if field.number not in parts:
            raise field.unknown()
        parts[field.number] = field.text()
    return parts[1], parts[2]


def _function_description(data: memoryview) -> tuple[str, Interface]:
    name = ""
    parts: dict[int, list[Feature]] = {2: [], 3: [], 6: []}
    for field in fields(data, "FunctionDescription"):
        match field.number:
            case 1:
                name = field.text()
            case 2 | 3 | 6:
                parts[field.number].append(_feature(field.submessage()))
            case 4 | 5:
                continue
            case _:
                raise field.unknown()
    return name, Interface(*(tuple(parts[n]) for n in (2, 3, 6)))


def _feature(data: memoryview) -> Feature:
    name = ""
    ranges: tuple[tuple[int, int | None], ...] | None = None
    for field in fields(data, "FeatureDescription"):
        match field.number:
            case 1:
                name = field.text()
            case 2:  # a description for people
                continue
            case 3:
                ranges = _feature_type(field.submessage())
            case _:
                raise field.unknown()
    return Feature(name, ranges)


def _feature_type(data: memoryview) -> tuple[tuple[int, int | None], ...] | None:
    ranges = None
    for field in fields(data, "FeatureType"):
        match field.number:
            case 5:
                ranges = _array_type(field.submessage())
            case 8:
                for inner in fields(field.submessage(), "StateFeatureType"):
                    if inner.number != 1:
                        raise inner.unknown()
                    ranges = _array_type(inner.submessage())
            case 1000:
                if field.flag():
                    raise WireError("FeatureType: optional inputs are not supported")
            case _:
                raise WireError(f"FeatureType: field {field.number} is not a multi-array or a state")
    return ranges


def _array_type(data: memoryview) -> tuple[tuple[int, int | None], ...] | None:
    shape: list[int] = []
    ranges: list[tuple[int, int | None]] | None = None
    for field in fields(data, "ArrayFeatureType"):
        match field.number:
            case 1:
                shape += field.integers()
            case 2:  # the element type: the program's own declaration is the one that is checked
                continue
            case 31:
                ranges = []
                for inner in fields(field.submessage(), "ShapeRange"):
                    if inner.number != 1:
                        raise inner.unknown()
                    ranges.append(_size_range(inner.submessage()))
            case _:
                raise field.unknown()
    if ranges is not None:
        return tuple(ranges)
    return tuple((size, size) for size in shape) if shape else None


def _size_range(data: memoryview) -> tuple[int, int | None]:
    least, most = 0, 0
    for field in fields(data, "SizeRange"):
        match field.number:
            case 1:
                least = field.unsigned()
            case 2:
                most = field.signed()
            case _:
                raise field.unknown()
    return least, None if most < 0 else most
