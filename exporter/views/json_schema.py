"""report.schema.json: what a report.json of this version may hold, as a JSON Schema of draft 2020-12.

Made from the dataclasses that a report is read into, as `runtimes.records` reads them: the same keys, none
more, the same types and words. Descriptions are the classes' own. The file that ships is checked in beside
this module (`python -m exporter.views.json_schema` writes it), and stands in every release.
Not about what a schema cannot say: that `outcome` follows from the gates, `json_report` checks.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from exporter.validation.report import REPORT_SCHEMA_VERSION, ValidationReport
from exporter.validation.verdict import Outcome
from runtimes.records import TAG

SCHEMA_NAME = "report.schema.json"
SCHEMA = Path(__file__).parent / SCHEMA_NAME

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    # JSON has no word for these three: see runtimes.records.
    float: {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
}


def report_schema() -> dict[str, Any]:
    """The schema, which names its version in `$id` and holds reports to it."""
    defined: dict[str, Any] = {}
    root = _object(ValidationReport, defined)
    root["properties"] = {"outcome": _schema(Outcome, defined), **root["properties"]}
    root["properties"]["schema_version"] = {"const": REPORT_SCHEMA_VERSION}
    root["required"] = ["outcome", *root["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:gemma-export:report:{REPORT_SCHEMA_VERSION}",
        "title": "gemma-export validation report",
        **root,
        "$defs": dict(sorted(defined.items())),
    }


def schema_text() -> str:
    """As it is written to files."""
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema(kind: Any, defined: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind):
        return _defined(kind, tagged=False, defined=defined)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (tuple, list):
        return {"type": "array", "items": _schema(arguments[0], defined)}
    if origin is dict:
        key, value = (_schema(each, defined) for each in arguments)
        return {"type": "object", "propertyNames": key, "additionalProperties": value}
    if origin in (UnionType, Union):
        return _union(arguments, defined)
    raise TypeError(f"{kind!r} is not a type of records")


def _union(kinds: tuple[Any, ...], defined: dict[str, Any]) -> dict[str, Any]:
    """Several dataclasses are told apart by their tag."""
    others = [kind for kind in kinds if kind is not NoneType]
    if len(others) == 1:
        alternatives = [_schema(others[0], defined)]
    else:
        alternatives = [_defined(kind, tagged=True, defined=defined) for kind in others]
    nothing: list[dict[str, Any]] = [{"type": "null"}] if NoneType in kinds else []
    return {"anyOf": alternatives + nothing}


def _defined(kind: Any, *, tagged: bool, defined: dict[str, Any]) -> dict[str, Any]:
    """A reference to a class, which is put down once."""
    name = f"Tagged{kind.__name__}" if tagged else kind.__name__
    if name not in defined:
        defined[name] = {}  # the class may hold itself
        found = _object(kind, defined)
        if tagged:
            found["properties"] = {TAG: {"const": kind.__name__.lower()}, **found["properties"]}
            found["required"] = [TAG, *found["required"]]
        defined[name] = found
    return {"$ref": f"#/$defs/{name}"}


def _object(kind: Any, defined: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    found: dict[str, Any] = {
        "type": "object",
        "properties": {name: _schema(hints[name], defined) for name in names},
        "required": names,
        "additionalProperties": False,
    }
    words = kind.__doc__ or ""
    if words and not words.startswith(f"{kind.__name__}("):  # what `dataclass` itself would put there
        found = {"description": inspect.cleandoc(words), **found}
    return found


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8", newline="")
