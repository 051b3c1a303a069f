"""Executing a program: its states, one run after another, every result checked.

Not about tokens or positions: see `session`. Peak memory is the states in fp32, the weights' bound,
and the values alive at once (the logits of one chunk, as a rule).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from runtimes.errors import ArtifactError, SessionError
from runtimes.mil.arithmetic import ArithmeticName, HalfRounding
from runtimes.mil.blobs import BlobFiles
from runtimes.mil.constants import Constants
from runtimes.mil.messages import Named
from runtimes.mil.package import Package, read_package
from runtimes.mil.program import Program, build_program
from runtimes.mil.steps import Compute, ReadState, WriteState
from runtimes.mil.tensor_types import FLOATING, MEMORY_DTYPE, Array, DataType
from runtimes.mil.weight_memory import DEFAULT_CACHE_BYTES, WeightMemory


class Execution:
    """An opened program and its states.

    non_finite: per operation ("linear → logits"), fp16 results that are NaN or infinite because of
    it: beyond fp16's range, or not a number, where its inputs were finite. An infinity that only
    passes through, like a mask's, is not counted. Stays empty in fp32 arithmetic.
    """

    def __init__(self, program: Program, files: BlobFiles, rounding: HalfRounding | None) -> None:
        self.program = program
        self.non_finite: Counter[str] = Counter()
        self._files = files
        self._rounding = rounding
        self._states: dict[str, Array] = {}
        self.reset()

    @classmethod
    def open(
        cls,
        path: Path,
        arithmetic: ArithmeticName,
        *,
        function: str | None = None,
        weight_cache_bytes: int = DEFAULT_CACHE_BYTES,
        watched: Sequence[str] = (),
    ) -> Self:
        """Open a package. watched: names of values inside it to return with the outputs of every run.

        Raises ArtifactError where its files are damaged or it asks for what is not implemented.
        """
        return cls.of(
            read_package(path),
            arithmetic,
            function=function,
            weight_cache_bytes=weight_cache_bytes,
            watched=watched,
        )

    @classmethod
    def of(
        cls,
        package: Package,
        arithmetic: ArithmeticName,
        *,
        function: str | None = None,
        weight_cache_bytes: int = DEFAULT_CACHE_BYTES,
        watched: Sequence[str] = (),
    ) -> Self:
        """`open` of a package that is read already, for who opens several functions of one."""
        files = BlobFiles(package.directory)
        rounding = HalfRounding() if arithmetic == "fp16" else None
        constants = Constants(str(package.path), files, WeightMemory(weight_cache_bytes), rounding)
        return cls(build_program(package, function, constants, watched), files, rounding)

    def reset(self) -> None:
        """Zero every state and forget what was counted. Raises ArtifactError where one has no size."""
        try:
            self._states = {
                name: np.zeros(declared.known_shape, MEMORY_DTYPE[declared.dtype])
                for name, declared in self.program.states.items()
            }
        except (ValueError, MemoryError) as error:
            raise ArtifactError(
                f"{self.program.source}: a state cannot be made ({error}); export again"
            ) from error
        self.non_finite.clear()

    def close(self) -> None:
        self._files.close()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One prediction: outputs by name; floats as fp32.

        Raises SessionError for inputs the package does not take, ArtifactError where a result is
        not what the program declares.
        """
        with np.errstate(all="ignore"):  # overflow is counted, not warned of
            values = self._inputs(inputs)
            for step in self.program.steps:
                match step:
                    case Compute():
                        self._compute(step, values)
                    case ReadState():
                        values[step.output.name] = self._states[step.state]
                    case WriteState(in_place=False):
                        self._states[step.state] = values[step.value].copy()
                    case WriteState():
                        pass
                for name in step.release:
                    values.pop(name, None)
        return {name: self._own(values[name]) for name in self.program.outputs}

    def _compute(self, step: Compute, values: dict[str, Array]) -> None:
        arguments = dict(step.fixed)
        for key, name in step.variable:
            arguments[key] = values[name]
        for key, weight in step.decoded:
            arguments[key] = weight.dense()
        for key, items in step.lists:
            arguments[key] = tuple(values[i] if isinstance(i, str) else i for i in items)
        overwritten = step.operation.overwrites
        if overwritten is not None and not step.in_place:
            arguments[overwritten] = np.array(arguments[overwritten])
        try:
            got = step.operation.function(**arguments)
        except (ValueError, IndexError, TypeError, OverflowError, KeyError) as error:
            raise ArtifactError(f"{self.program.source}: {step.label}: {error}") from error
        results = got if isinstance(got, tuple) else (got,)
        if len(results) != len(step.outputs):
            raise ArtifactError(
                f"{self.program.source}: {step.label}: declares {len(step.outputs)} results, "
                f"the operation gives {len(results)}"
            )
        for output, result in zip(step.outputs, results, strict=True):
            value = np.asarray(result)
            self._check(step.label, output, value)
            if (
                self._rounding is not None
                and not step.operation.exact
                and output.type.dtype is DataType.FLOAT16
            ):
                self._round(step.label, self._rounding, value, arguments)
            values[output.name] = value

    def _round(
        self, label: str, rounding: HalfRounding, value: Array, arguments: Mapping[str, object]
    ) -> None:
        facts = rounding.apply(value)
        if facts.non_finite:
            carried = any(_has_non_finite(argument) for argument in arguments.values())
            if count := facts.non_finite - (facts.already_infinite if carried else 0):
                self.non_finite[label] += count

    def _check(self, label: str, output: Named, value: Array) -> None:
        if not output.type.admits(value):
            raise ArtifactError(
                f"{self.program.source}: {label}: declared {output.type}, the result is "
                f"{value.dtype}{list(value.shape)}; the program is inconsistent"
            )

    def _inputs(self, given: Mapping[str, Array]) -> dict[str, Array]:
        declared = self.program.inputs
        if given.keys() != declared.keys():
            raise SessionError(
                f"{self.program.source}: takes the inputs {sorted(declared)}, got {sorted(given)}"
            )
        ranges = {feature.name: feature.ranges for feature in self.program.interface.inputs}
        values: dict[str, Array] = {}
        for name, kind in declared.items():
            floats = kind.dtype in FLOATING
            if floats != np.issubdtype(given[name].dtype, np.floating):
                raise SessionError(f"{self.program.source}: {name} is {kind}, got {given[name].dtype}")
            value = np.array(given[name], MEMORY_DTYPE[kind.dtype], order="C")
            if not kind.admits(value) or not _within(value.shape, ranges.get(name)):
                raise SessionError(
                    f"{self.program.source}: {name} is {kind} within {ranges.get(name)}, got shape "
                    f"{list(value.shape)}"
                )
            if self._rounding is not None and kind.dtype is DataType.FLOAT16:
                self._rounding.apply(value)
            values[name] = value
        return values

    def _own(self, value: Array) -> Array:
        """The value, or a copy where the next run would change it."""
        shared = any(np.may_share_memory(value, state) for state in self._states.values())
        return value.copy() if shared else value


def _within(shape: Sequence[int], ranges: Sequence[tuple[int, int | None]] | None) -> bool:
    if ranges is None:
        return True
    return len(shape) == len(ranges) and all(
        least <= size and (most is None or size <= most)
        for size, (least, most) in zip(shape, ranges, strict=True)
    )


def _has_non_finite(argument: object) -> bool:
    """Weights are not looked at: a checkpoint with NaN or Inf never becomes an artifact."""
    if isinstance(argument, tuple):
        return any(_has_non_finite(item) for item in argument)
    if not isinstance(argument, np.ndarray) or argument.dtype != np.float32:
        return False
    return not np.isfinite(argument).all()
