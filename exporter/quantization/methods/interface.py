"""`Method`: a way to find the codes of a matrix, what it is given and what it gives.

A method decides nothing about where codes go or in what order matrices come: its caller does. Not about
any one way (siblings), or about storing (`exporter.quantization.store`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.interface import CheckpointSource, Codes, CodeScales
from exporter.quantization.methods.moments_factor import MomentsFactor, factor_moments
from exporter.schemes import IntegerScheme

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

    second: mean of x[i] * x[j], [in, in], symmetric. tokens: how many were seen. What methods derive from
    it is kept, as several matrices and threads ask for the same.
    """

    second: NDArray[np.float32]
    tokens: int
    _factors: dict[tuple[int, float], MomentsFactor] = field(
        default_factory=dict, repr=False, compare=False
    )
    _one_at_a_time: Lock = field(default_factory=Lock, repr=False, compare=False)

    def factor(self, group: int | None, damping: float) -> MomentsFactor:
        """For columns in groups of so many, all of them for None. Raises ValueError as `factor_moments`."""
        width = len(self.second) if group is None else group
        with self._one_at_a_time:
            if (width, damping) not in self._factors:
                self._factors[width, damping] = factor_moments(self.second, width, damping)
            return self._factors[width, damping]


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

    def tile(self, inputs: int) -> int:
        """Rows of a matrix that belong together: what `find` is given begins at a multiple of it."""
        ...

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        """Codes of these rows. moments: of the matrix's inputs, where whoever drives has them.

        Raises CheckpointError for rows that cannot be read or that the scheme cannot hold.
        """
        ...
