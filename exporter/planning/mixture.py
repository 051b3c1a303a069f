"""`choose`: one option for each of several matrices, of least loss together within so many bytes.

Losses are taken to add. A knapsack solved exactly over a grid of bytes whose step is what all costs are
multiples of; where that grid would be too large, over one whose steps they are rounded up to, so that
the budget holds and at most STEPS'th parts of the range go unused. Ways to store every matrix alike are
looked at too. Pure numbers: not about where losses come from or which schemes there are (`mixed_recipe`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 1 << 17  # of bytes between the smallest choice and the largest
LARGEST_GRID = 1 << 18


@dataclass(frozen=True)
class Option:
    """A way to store a matrix. scheme: by name. bytes: as it is stored. loss: KL it costs, in nats."""

    scheme: str
    bytes: int
    loss: float


Options = Mapping[str, Sequence[Option]]
"""By matrix; no two of one matrix have the same scheme."""

Choice = dict[str, Option]


def smallest(options: Options) -> int:
    """Bytes of the smallest choice there is."""
    return sum(min(each.bytes for each in some) for some in options.values())


def largest(options: Options) -> int:
    """Bytes of the largest choice there is."""
    return sum(max(each.bytes for each in some) for some in options.values())


def total_bytes(choice: Mapping[str, Option]) -> int:
    return sum(each.bytes for each in choice.values())


def total_loss(choice: Mapping[str, Option]) -> float:
    return math.fsum(each.loss for each in choice.values())


def choose(options: Options, most: int) -> Choice:
    """An option for each matrix, in all `most` bytes at most. Raises ValueError where nothing fits.

    No budget gives a larger loss than a smaller one does, nor a larger one than the same scheme
    everywhere that it can be had, where that fits.
    """
    spare = most - smallest(options)
    if spare < 0:
        raise ValueError(f"{most} bytes are {-spare} too few")
    found = [_solved(options, spare)]
    found += [each for each in _alike(options) if total_bytes(each) <= most]
    return min(found, key=lambda choice: (total_loss(choice), total_bytes(choice)))


def _alike(options: Options) -> Iterator[Choice]:
    """One scheme for all, the smallest option where a matrix cannot have it."""
    for scheme in dict.fromkeys(each.scheme for some in options.values() for each in some):
        yield {
            name: next((each for each in some if each.scheme == scheme), min(some, key=_size))
            for name, some in options.items()
        }


def _size(option: Option) -> int:
    return option.bytes


def _solved(options: Options, spare: int) -> Choice:
    """least[k]: the least loss of the matrices so far in exactly k steps above the smallest bytes."""
    costs = {name: _above_smallest(some) for name, some in options.items()}
    step = _step(costs.values())
    cells = min(spare, sum(max(each) for each in costs.values())) // step + 1
    least = np.full(cells, np.inf)
    least[0] = 0.0
    taken: dict[str, NDArray[np.uint8]] = {}
    for name, some in options.items():
        before, least = least, np.full(cells, np.inf)
        picks = taken[name] = np.zeros(cells, np.uint8)
        for number, (option, cost) in enumerate(zip(some, costs[name], strict=True)):
            steps = -(-cost // step)
            if steps >= cells:
                continue
            tried = before[: cells - steps] + option.loss
            better = tried < least[steps:]
            least[steps:][better] = tried[better]
            picks[steps:][better] = number
    at = int(np.argmin(least))  # of equals, the one of fewest bytes
    chosen: Choice = {}
    for name in reversed(list(options)):
        number = int(taken[name][at])
        chosen[name] = options[name][number]
        at -= -(-costs[name][number] // step)
    return {name: chosen[name] for name in options}


def _above_smallest(some: Sequence[Option]) -> list[int]:
    least = min(each.bytes for each in some)
    return [each.bytes - least for each in some]


def _step(costs: Iterable[Sequence[int]]) -> int:
    """Bytes of a step: the same for every budget, so that choices of one are there for a larger one."""
    every = list(costs)
    span = sum(max(each) for each in every)
    exact = math.gcd(*(cost for each in every for cost in each)) or 1
    return exact if span // exact < LARGEST_GRID else -(-span // STEPS)
