"""The steps a program is executed in: one operation each, arguments resolved.

Not about how they come to be (`program`), when their values are dropped (`lifetimes`), or what runs
them (`execution`).
"""

from __future__ import annotations

from dataclasses import dataclass

from runtimes.mil.messages import Named
from runtimes.mil.operations.table import Operation
from runtimes.mil.weight_memory import Weight


@dataclass(frozen=True)
class Compute:
    """One operation of the table.

    fixed: arguments that never change. variable: (input, value) taken from earlier results. lists:
    inputs that are lists; an item is a value's name, or a constant. decoded: inputs that want a
    weight's values. release: values nobody uses after this step. in_place: the operation may write
    into the memory of the input it `overwrites`.
    """

    label: str
    operation: Operation
    fixed: dict[str, object]
    variable: tuple[tuple[str, str], ...]
    lists: tuple[tuple[str, tuple[object, ...]], ...]
    decoded: tuple[tuple[str, Weight], ...]
    outputs: tuple[Named, ...]
    release: tuple[str, ...] = ()
    in_place: bool = False

    @property
    def makes(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.outputs)

    @property
    def uses(self) -> tuple[str, ...]:
        listed = (item for _, items in self.lists for item in items if isinstance(item, str))
        return (*(name for _, name in self.variable), *listed)


@dataclass(frozen=True)
class ReadState:
    state: str
    output: Named
    release: tuple[str, ...] = ()

    @property
    def makes(self) -> tuple[str, ...]:
        return (self.output.name,)

    @property
    def uses(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class WriteState:
    """in_place: the value already is the state's memory."""

    state: str
    value: str
    release: tuple[str, ...] = ()
    in_place: bool = False

    @property
    def makes(self) -> tuple[str, ...]:
        return ()

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.value,)


Step = Compute | ReadState | WriteState
