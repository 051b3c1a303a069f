"""`on_longest_routes`: the one comparison that stands for each way an artifact was run, wherever a report,
a card or releases side by side have room for one.

Of the routes over most positions the one farthest from the original: it is over all of the text, as the
gates are, and releases have it in common, which shorter routes are not. Not about comparing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from exporter.validation.report import Comparison

MEANING = "that of its longest route, of several the one farthest from the original"


def on_longest_routes(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """Of those end to end, one for each artifact and subject, in their order."""
    found: dict[tuple[str | None, str], Comparison] = {}
    for each in comparisons:
        if each.kind == "end to end":
            key = each.artifact, each.subject
            found[key] = max(found.get(key, each), each, key=_distance)
    return tuple(found.values())


def _distance(comparison: Comparison) -> tuple[int, float]:
    """By positions first; not a number is farthest."""
    found = comparison.statistics
    return found.positions, math.inf if math.isnan(found.mean_kl) else found.mean_kl
