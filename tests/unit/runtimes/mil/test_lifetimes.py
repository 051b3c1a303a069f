"""States updated in place give what updating copies would give, and only where nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from runtimes.mil.execution import Execution
from runtimes.mil.steps import Compute, WriteState
from tests.parity.mil_packages import save_program

Var = Any


def _set_row(value: Var, row: int, update: Var) -> Var:
    """value [3, 2] with one row replaced by update [1, 2]."""
    return mb.slice_update(x=value, update=update, begin=(row, 0), end=(row + 1, 2))


def _plain(x: Var, cache: Var) -> list[Var]:
    updated = mb.coreml_update_state(state=cache, value=_set_row(mb.read_state(input=cache), 1, x))
    return [mb.identity(x=updated)]


def _two_updates(x: Var, cache: Var) -> list[Var]:
    once = _set_row(mb.read_state(input=cache), 0, x)
    twice = _set_row(once, 2, mb.add(x=x, y=np.float16(1)))
    return [mb.identity(x=mb.coreml_update_state(state=cache, value=twice))]


def _old_value_used_later(x: Var, cache: Var) -> list[Var]:
    before = mb.read_state(input=cache)
    after = mb.coreml_update_state(state=cache, value=_set_row(before, 1, x))
    return [mb.sub(x=after, y=before)]


def _old_view_used_later(x: Var, cache: Var) -> list[Var]:
    row = mb.slice_by_index(x=mb.read_state(input=cache), begin=(1, 0), end=(2, 2))
    after = mb.coreml_update_state(state=cache, value=_set_row(mb.read_state(input=cache), 1, x))
    return [mb.add(x=row, y=after)]


def _update_not_written(x: Var, cache: Var) -> list[Var]:
    return [mb.identity(x=_set_row(mb.read_state(input=cache), 1, x))]


def _read_between(x: Var, cache: Var) -> list[Var]:
    updated = _set_row(mb.read_state(input=cache), 1, x)
    old = mb.read_state(input=cache)
    difference = mb.sub(x=updated, y=old)
    mb.coreml_update_state(state=cache, value=updated)
    return [difference]


def _moved_along(x: Var, cache: Var) -> list[Var]:
    """A ring: rows move up by one, the new one comes last. The update overlaps what it is read from."""
    old = mb.read_state(input=cache)
    up = mb.slice_by_index(x=old, begin=(1, 0), end=(3, 2))
    moved = mb.slice_update(x=old, update=up, begin=(0, 0), end=(2, 2))
    return [mb.identity(x=mb.coreml_update_state(state=cache, value=_set_row(moved, 2, x)))]


def _replaced(x: Var, cache: Var) -> list[Var]:
    old = mb.read_state(input=cache)
    new = mb.concat(values=(mb.slice_by_index(x=old, begin=(1, 0), end=(3, 2)), x), axis=0)
    after = mb.coreml_update_state(state=cache, value=new)
    return [mb.sub(x=after, y=old)]


def _reference(name: str, x: Any, state: Any) -> tuple[Any, Any]:
    """(output, next state), with copies at every step."""
    old, new = state.copy(), state.copy()
    match name:
        case "_plain":
            new[1] = x
            return new, new
        case "_two_updates":
            new[0], new[2] = x, x + 1
            return new, new
        case "_old_value_used_later" | "_read_between":
            new[1] = x
            return new - old, new
        case "_old_view_used_later":
            new[1] = x
            return old[1:2] + new, new
        case "_update_not_written":
            new[1] = x
            return new, old
        case "_moved_along":
            return (moved := np.concatenate([old[1:], x])), moved
        case _:
            moved = np.concatenate([old[1:], x])
            return moved - old, moved


@pytest.mark.parametrize(
    ("build", "in_place"),
    [
        (_plain, [True]),
        (_two_updates, [True, True]),
        (_old_value_used_later, [False]),
        (_old_view_used_later, [False]),
        (_update_not_written, [False]),
        (_read_between, [False]),
        (_moved_along, [True, True]),
        (_replaced, []),
    ],
)
def test_a_state_is_what_copying_would_make_of_it(
    build: Callable[..., list[Var]], in_place: list[bool], tmp_path: Path
) -> None:
    inputs = {
        "x": mb.placeholder(shape=(1, 2), dtype=types.fp32),
        "cache": mb.state_tensor_placeholder((3, 2), types.fp16),
    }

    def half(x: Var, cache: Var) -> list[Var]:
        (result,) = build(mb.cast(x=x, dtype="fp16"), cache)
        return [mb.cast(x=result, dtype="fp32", name="result")]

    execution = Execution.open(save_program(tmp_path / "p.mlpackage", inputs, half), "fp32")
    steps = execution.program.steps
    updates = [s.in_place for s in steps if isinstance(s, Compute) and s.operation.overwrites]
    assert updates == in_place
    writes = [s.in_place for s in steps if isinstance(s, WriteState)]
    assert writes == ([all(in_place)] if in_place else [False])[: len(writes)]

    state = np.zeros((3, 2), np.float32)
    seen = []
    for step in range(1, 5):
        x = np.array([[step, -step]], np.float32)
        expected, state = _reference(build.__name__, x, state)
        got = execution.run({"x": x})["result"]
        np.testing.assert_array_equal(got, expected)
        seen.append((got, got.copy()))
    for kept, copied in seen:  # a later run does not reach into an earlier answer
        np.testing.assert_array_equal(kept, copied)
