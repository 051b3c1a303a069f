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


def parse_budget(reference: str) -> Budget:
    """The budget in a recipe's name "mixed:246MB", "mixed:0.9GiB" or "mixed:4.8". Raises RecipeError."""
    asked = reference.removeprefix(MIXED).strip()
    if re.fullmatch(r"\d+(\.\d+)?", asked):
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
