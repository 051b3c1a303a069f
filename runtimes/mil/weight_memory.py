"""Constants too large to hold decoded without thought: decoded by rows, cached within a bound.

Peak memory is the cache's bound plus a block of rows for each processor. The cache admits what fits,
in the order first asked for, and never evicts: a program reads its weights in the same order every
time, and an evicting cache that is too small for such a cycle hits nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Protocol

import numpy as np

from runtimes.mil.arithmetic import HalfRounding
from runtimes.mil.payloads import Elements
from runtimes.mil.tensor_types import Array, Floats

BLOCK_BYTES = 4 << 20
MOST_WORKERS = 8  # more would wait for memory
DEFAULT_CACHE_BYTES = 3 << 29


class Decoder(Protocol):
    """How a constant's values come out of its bytes."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def decode(self, start: int, stop: int, out: Floats) -> None:
        """Write rows start … stop into `out`, [stop - start, …] fp32 without gaps."""
        ...

    def take(self, rows: Array) -> Floats:
        """The given rows, [len(rows), …] fp32, decoding no others."""
        ...


class PlainDecoder:
    """A float constant stored as it is."""

    def __init__(self, elements: Elements) -> None:
        self._elements = elements

    @property
    def shape(self) -> tuple[int, ...]:
        return self._elements.shape

    def decode(self, start: int, stop: int, out: Floats) -> None:
        np.copyto(out, self._elements.rows(start, stop))

    def take(self, rows: Array) -> Floats:
        return self._elements.take(rows).astype(np.float32, copy=False)


class WeightMemory:
    """What all weights of a program share: room for decoded values, and threads with a block each."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._workers = ThreadPoolExecutor(min(MOST_WORKERS, os.cpu_count() or 1))
        self._of_thread = threading.local()

    def admit(self, size: int) -> bool:
        """Whether `size` more bytes may be kept; if so they are counted."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def scratch(self, elements: int) -> Floats:
        """Room for one block; a thread's next call hands out the same memory again."""
        own = self._of_thread
        if not hasattr(own, "scratch") or own.scratch.size < elements:
            own.scratch = np.empty(elements, np.float32)
        found: Floats = own.scratch[:elements]
        return found

    def side_by_side(self, work: Callable[[int], None], starts: range) -> None:
        """`work(start)` for every start, on all processors: numpy lets other threads run meanwhile."""

        def quietly(start: int) -> None:
            with np.errstate(all="ignore"):  # a thread has its own; overflow is counted, not warned of
                work(start)

        for _ in self._workers.map(quietly, starts):
            pass


class Weight:
    """A float constant of the program.

    rounding: applied to every decoded value; None where values stay as the codes give them.
    """

    def __init__(self, decoder: Decoder, memory: WeightMemory, rounding: HalfRounding | None) -> None:
        self._decoder = decoder
        self._memory = memory
        self._rounding = rounding
        self._kept: Floats | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._decoder.shape

    def kept(self) -> Floats | None:
        """The whole decoded weight if the cache has or gets it, else None. Not to be written to."""
        if self._kept is None and self._memory.admit(4 * prod(self.shape)):
            self._kept = self._decode_all()
        return self._kept

    def dense(self) -> Floats:
        """The whole decoded weight, at the cost of holding it. Not to be written to."""
        kept = self.kept()
        return self._decode_all() if kept is None else kept

    def take(self, rows: Array) -> Floats:
        """The given rows, [len(rows), …]: of the kept weight, or decoded alone. A new array."""
        if self._kept is not None:
            taken: Floats = self._kept[rows]
            return taken
        return self._rounded(self._decoder.take(rows))

    def each_block(self, use: Callable[[int, int, Floats], None], *, side_by_side: bool) -> None:
        """`use(start, stop, rows)` over the whole weight, one block after the other or in threads.

        The rows are the thread's own and overwritten by its next block. In threads the order is any.
        """
        rows, step = self.shape[0], self._block_rows()

        def decode(start: int) -> None:
            stop = min(start + step, rows)
            scratch = self._memory.scratch(step * prod(self.shape[1:]))
            out = scratch.reshape(step, *self.shape[1:])[: stop - start]
            self._decoder.decode(start, stop, out)
            use(start, stop, self._rounded(out))

        starts = range(0, rows, step)
        if side_by_side:
            self._memory.side_by_side(decode, starts)
        else:
            for start in starts:
                decode(start)

    def _decode_all(self) -> Floats:
        whole = np.empty(self.shape, np.float32)
        rows, step = self.shape[0], self._block_rows()
        for start in range(0, rows, step):
            out = whole[start : min(start + step, rows)]
            self._decoder.decode(start, start + len(out), out)
            self._rounded(out)
        whole.flags.writeable = False
        return whole

    def _block_rows(self) -> int:
        return max(1, min(self.shape[0], BLOCK_BYTES // (4 * max(1, prod(self.shape[1:])))))

    def _rounded(self, values: Floats) -> Floats:
        if self._rounding is not None:
            self._rounding.apply(values)
        return values
