"""When values can be dropped, and when a state may be written in place.

A program reads a state as a value, makes an updated value, and writes that back. Executed to the
letter each step copies the cache. The copy is left out where nobody can tell: the old value and
every view of it are dead, and the state is written before it is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runtimes.mil.steps import Compute, ReadState, Step, WriteState


def plan_lifetimes(steps: Sequence[Step], outputs: frozenset[str]) -> tuple[Step, ...]:
    """The same steps, each with the values it is the last to need, and updates in place marked."""
    last_use = _last_uses(steps, outputs)
    views: dict[str, frozenset[str]] = {}  # value → the states whose memory it may show
    whole: dict[str, str] = {}  # value → the state whose memory it is
    planned: list[Step] = []
    for at, step in enumerate(steps):
        match step:
            case ReadState():
                views[step.output.name] = frozenset({step.state})
                whole[step.output.name] = step.state
            case WriteState():
                step = replace(step, in_place=whole.get(step.value) == step.state)
                if not step.in_place:  # the state moves to new memory; older values keep the old
                    whole = {value: state for value, state in whole.items() if state != step.state}
            case Compute() if step.operation.overwrites is not None:
                source = dict(step.variable).get(step.operation.overwrites)
                state = None if source is None else whole.get(source)
                if state is not None and _nobody_reads(state, at, steps, views, last_use):
                    step = replace(step, in_place=True)
                    views[step.outputs[0].name] = frozenset({state})
                    whole[step.outputs[0].name] = state
            case Compute() if step.operation.may_alias:
                seen = frozenset(state for name in step.uses for state in views.get(name, ()))
                views |= {output.name: seen for output in step.outputs}
            case Compute():
                pass
        planned.append(step)
    return _with_releases(planned, last_use)


def _last_uses(steps: Sequence[Step], outputs: frozenset[str]) -> dict[str, int]:
    """Index of the last step that needs each value: that makes it, where none uses it."""
    last = {name: at for at, step in enumerate(steps) for name in (*step.makes, *step.uses)}
    return last | dict.fromkeys(outputs, len(steps))


def _nobody_reads(
    state: str,
    at: int,
    steps: Sequence[Step],
    views: dict[str, frozenset[str]],
    last_use: dict[str, int],
) -> bool:
    """Whether the state's content before step `at` is never looked at after it."""
    if any(state in seen and last_use[name] > at for name, seen in views.items()):
        return False
    for step in steps[at + 1 :]:
        if isinstance(step, ReadState | WriteState) and step.state == state:
            return isinstance(step, WriteState)
    return False  # the next run would read it


def _with_releases(steps: Sequence[Step], last_use: dict[str, int]) -> tuple[Step, ...]:
    ending: dict[int, list[str]] = {}
    for name, at in last_use.items():
        ending.setdefault(at, []).append(name)
    return tuple(replace(step, release=tuple(ending.get(at, ()))) for at, step in enumerate(steps))
