"""How subjects of a comparison changed from one directory to the next.

Not about what a release's own report says (`exporter.validation.reported`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from exporter.evaluation.compared import SubjectChange, SubjectFigures


def relative(before: float | None, after: float | None) -> float | None:
    """0.1 for a tenth more; None where one is not known, or there is nothing to be a share of."""
    if before is None or after is None or before == 0:
        return None
    return math.nan if math.isinf(before) else after / before - 1


def changes(subjects: Sequence[SubjectFigures]) -> Iterator[SubjectChange]:
    """Each subject against that of the same format, the same path first, in the directory before it."""
    for kind in ("checkpoint", "artifact"):
        by_directory: dict[str, list[SubjectFigures]] = {}
        for subject in subjects:
            if subject.kind == kind:
                by_directory.setdefault(subject.directory, []).append(subject)
        for before, after in pairwise(by_directory.values()):
            for subject in after:
                alike = [each for each in before if each.format == subject.format]
                if alike:
                    yield _change(min(alike, key=lambda each: each.path != subject.path), subject)


def _change(before: SubjectFigures, after: SubjectFigures) -> SubjectChange:
    was, now = before.overall.statistics, after.overall.statistics
    return SubjectChange(
        name=after.name,
        before=before.name,
        nbytes=relative(before.nbytes, after.nbytes),
        mean_kl=relative(was.mean_kl, now.mean_kl),
        top1=now.top1 - was.top1,
    )
