"""`NearestFit`: where nothing fits a target within its gates, what can be asked for by name all the same.

Not about what is tried (`exporter.planning.asking_for_less`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class NearestFit:
    """recipe: as `--recipe` takes it. of: what of the model alone ("text alone"), empty where it is all.
    asking: the flags that ask for it. below: by what it is less faithful than a device asks for, misses:
    by what it does not fit, doubts: why it may not; clauses, none where nothing is to be said. share: of
    what an app may use, with the error of predicting it. weight_bytes: of all matrices. measured_later:
    whether nobody knows before it is made how faithful it is."""

    recipe: str
    context: int
    of: str
    asking: str
    below: tuple[str, ...]
    misses: tuple[str, ...]
    doubts: tuple[str, ...]
    share: float
    weight_bytes: int
    measured_later: bool

    @property
    def as_good_as_asked(self) -> bool:
        return not (self.below or self.misses or self.doubts)

    @property
    def sentence(self) -> str:
        """What it is, how to ask for it, and what will be said of it then."""
        return self.in_words(())

    def in_words(self, said: Collection[str]) -> str:
        """The same behind clauses that need not be said again."""
        which = f"{self.recipe} with a context of {self.context:,}{', ' if self.of else ''}{self.of}"
        if self.misses:
            return f"Nothing would fit, not even the smallest there is, {which}: {'; '.join(self.misses)}."
        below = ", below the fidelity asked for" if self.below else ""
        if unsaid := [each for each in self.below if each not in said]:
            below += f" ({'; '.join(unsaid)})"
        later = ""
        if self.measured_later:
            later = " What it costs in quality is measured as it is made, and may hold it back."
        if self.doubts:
            return (
                f"Nothing is certain to fit; the nearest is {which}{below}, which may not: "
                f"{'; '.join(self.doubts)}. {self.asking} makes it.{later}"
            )
        return f"The nearest that would fit is {which}{below}; {self.asking} makes it.{later}"


def nearest_of(found: Iterable[NearestFit]) -> NearestFit | None:
    """In their order the first that fits, if need be below the fidelity asked for; else of those that may
    fit the one with most room; else the smallest, with what it lacks. None where there is none at all."""
    others: list[NearestFit] = []
    for each in found:
        if each.as_good_as_asked:
            return each
        others.append(each)
    certain = [each for each in others if not (each.misses or each.doubts)]
    if certain:
        return certain[0]
    likely = [each for each in others if not each.misses]
    if likely:
        return min(likely, key=lambda each: each.share)
    return min(others, key=lambda each: (each.weight_bytes, each.context), default=None)
