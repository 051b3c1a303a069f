"""`Budget`: what a mixed recipe's matrices may take together, in bytes or in bits a weight.

Not about what is chosen within it (`mixture`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.byte_size import parse_bytes
from exporter.errors import RecipeError
from exporter.models.text.spec import WeightSpec
from runtimes.excerpt import excerpt

MIXED = "mixed:"
MOST_BITS = 32.0
UNITS = {"MB": 10**6, "kB": 10**3, "B": 1}  # in which one is suggested


@dataclass(frozen=True)
class Budget:
    """asked: as it was given. One of the next two is None. bytes: of all matrices of a release as they are
    stored, scales and zero points included. bits: the same for each weight of the text model, in the mean.
    beside: bytes of an image tower's matrices, whose schemes are no choice: a size holds them too."""

    asked: str
    bytes: int | None
    bits: float | None
    beside: int = 0

    def most(self, weights: Iterable[WeightSpec]) -> int:
        """In bytes, for a text model of these weights."""
        if self.bytes is not None:
            return self.bytes - self.beside
        assert self.bits is not None
        return math.floor(self.bits * sum(math.prod(each.shape) for each in weights if each.is_matrix) / 8)


def in_short(count: int) -> str:
    """The size as one types it, "2789MB": no less than `count` bytes, and no more than a hundredth above it
    where it is one of 100 bytes or more."""
    unit, step = _unit_and_step(count)
    digits = len(str(UNITS[unit] // step)) - 1
    return f"{-(-count // step) * step / UNITS[unit]:.{digits}f}{unit}"


def step_of(count: int) -> int:
    """Bytes by which sizes like this differ where one is looked for: half a hundredth of it to five."""
    step = _unit_and_step(count)[1]
    while count >= 1000 * step:
        step *= 10
    return 5 * step


def _unit_and_step(count: int) -> tuple[str, int]:
    """The largest unit there is one of, and a part of it of which there are a hundred."""
    unit = next((each for each in UNITS if count >= UNITS[each]), "B")
    step = UNITS[unit]
    while step > 1 and count < 100 * step:
        step //= 10
    return unit, step


def parse_budget(reference: str) -> Budget:
    """The budget in a recipe's name "mixed:246MB", "mixed:0.9GiB" or "mixed:4.8". Raises RecipeError."""
    asked = reference.removeprefix(MIXED).strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", asked):
        bits = float(asked)
        if not 0 < bits <= MOST_BITS:
            raise RecipeError(
                f"recipe {excerpt(reference)}",
                f"a number without a unit is bits a weight, above 0 and up to {MOST_BITS:g}",
                "give one like mixed:4.8, or bytes with their unit like mixed:246MB",
            )
        return Budget(asked, None, bits)
    try:
        return Budget(asked, parse_bytes(asked), None)
    except ValueError as error:
        raise RecipeError(
            f"recipe {excerpt(reference)}",
            "names no budget",
            "give bytes like mixed:246MB or mixed:0.9GiB, or bits a weight like mixed:4.8",
        ) from error
