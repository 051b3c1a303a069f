"""`Method`: a way to find the codes of a matrix, what it is given and what it gives.

A method decides nothing about where codes go or in what order matrices come: its caller does. Not about
any one way (siblings), or about storing (`exporter.quantization.store`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource, Codes, CodeScales
from exporter.schemes import IntegerScheme

Derived = TypeVar("Derived")
ZeroPoints = NDArray[np.int8]  # [rows, groups]


@dataclass(frozen=True)
class MethodRecord:
    """What decides a method's codes beside what it is given; a store keeps it and never mixes two.

    version: another one wherever the same weights get other codes. settings: values JSON has.
    """

    name: str
    version: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class MatrixRows:
    """Rows start to stop of one matrix of a source, read when they are asked for."""

    source: CheckpointSource
    name: str
    start: int
    stop: int

    def values(self) -> NDArray[np.float32]:
        """[rows, in]. Raises CheckpointError as the source does."""
        return self.source.rows(self.name, self.start, self.stop)

    def held(self) -> tuple[Codes, CodeScales]:
        """What the source stores of a matrix in its `held`. Raises CheckpointError as it does."""
        return self.source.codes(self.name, self.start, self.stop)


@dataclass(frozen=True)
class InputMoments:
    """What a linear's inputs x were like over calibration text.

    second: mean of x[i] * x[j], [in, in], symmetric; its diagonal alone, [in], where no method of the store
    looks at more. tokens: how many were seen. opening: x at the token that begins every text, [in]; None
    where that is nothing apart. What methods derive from it is kept, as several matrices and threads ask
    for the same.
    """

    second: NDArray[np.float32]
    tokens: int
    opening: NDArray[np.float32] | None = None
    _derived: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)
    _one_at_a_time: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def energy(self) -> NDArray[np.float32]:
        """Mean of x[i] squared, [in]."""
        return self.second if self.second.ndim == 1 else np.diagonal(self.second)

    def derived(self, key: Hashable, make: Callable[[NDArray[np.float32]], Derived]) -> Derived:
        """What `make` makes of `second`, made once for a key."""
        with self._one_at_a_time:
            if key not in self._derived:
                self._derived[key] = make(self.second)
            found: Derived = self._derived[key]
            return found


@dataclass(frozen=True)
class FoundCodes:
    """weight[o, i] is near (codes[o, i] - zero_points[o, g]) * scales[o, g], g the group of i.

    codes: [rows, in]. scales: [rows, groups], none of them 0. zero_points: [rows, groups], None for a
    symmetric scheme.
    """

    codes: Codes
    scales: CodeScales
    zero_points: ZeroPoints | None


class Method(Protocol):
    """Pure: a tile of rows gets the same codes in any company and on any thread; called from several at
    once."""

    @property
    def record(self) -> MethodRecord: ...

    @property
    def looks_at_products(self) -> bool:
        """Whether it wants to know of every two inputs together, whose moments take most of the memory."""
        ...

    def tile(self, inputs: int) -> int:
        """Rows of a matrix that belong together: what `find` is given begins at a multiple of it."""
        ...

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        """Codes of these rows. moments: of the matrix's inputs, where whoever drives has them.

        Raises CheckpointError for rows that cannot be read or that the scheme cannot hold.
        """
        ...
