"""Reports of any content at all, small enough that hundreds are drawn in a test.

Not about likely reports (`tests.golden.reports`). Hypothesis makes a tuple of any length of its own accord,
and a report is tuples within tuples, so that most of what it draws is more than it allows itself.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from exporter.validation.report import ValidationReport

ITEMS = 2
"""At most so many in a tuple: none, one and several are all there is to tell apart."""


def any_report() -> st.SearchStrategy[ValidationReport]:
    return _any(ValidationReport)


def _any(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that reports are made of."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: _any(hints[field.name]) for field in fields(kind)})
    if get_origin(kind) is tuple and get_args(kind)[1:] == (...,):
        return st.lists(_any(get_args(kind)[0]), max_size=ITEMS).map(tuple)
    if type(None) in get_args(kind):
        return st.one_of(*(_any(option) for option in get_args(kind)))
    return st.from_type(kind)
