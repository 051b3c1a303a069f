"""`ShortNames`: a few words for each artifact, subject and route of a report, and what they stand for.

Never the same words for two of them: rows of a table that read alike would be taken for one measurement.
Not about any one view's layout.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from exporter.validation.report import ArtifactRun, Comparison, Gate, ValidationReport
from exporter.views.tower_wording import tower_runs
from exporter.views.wording import one_line

LONGEST = 50  # characters
TRANSFORMERS = "transformers, "


@dataclass(frozen=True)
class ShortNames:
    """From the whole words to the short ones. rows: of each comparison, by its place in the report; beside
    its artifact's, none is there twice."""

    artifacts: Mapping[str, str]
    subjects: Mapping[str, str]
    routes: Mapping[str, str]
    rows: tuple[str, ...]

    def artifact(self, path: str | None) -> str:
        """An artifact's file name, or its path where two share that."""
        return "–" if path is None else self.artifacts.get(path, one_line(path))

    def subject(self, subject: str) -> str:
        """A subject; of a gate also with a route, or what else stands behind a colon."""
        if subject in self.subjects:
            return self.subjects[subject]
        before, _, after = subject.rpartition(": ")
        if before in self.subjects:
            return f"{self.subjects[before]}: {self.routes.get(after, one_line(after))}"
        return one_line(subject)

    def run(self, run: ArtifactRun) -> str:
        """An artifact and what ran it: "model.onnx, ONNX Runtime 1.32.0, fp32"."""
        return f"{self.artifact(run.artifact)}, {self.subject(run.subject)}"

    def sentence(self, text: str) -> str:
        """A sentence that names subjects, with their short names."""
        named = sorted(filter(str.strip, self.subjects), key=len, reverse=True)
        if not named:
            return text
        # In one pass: a short name may itself be another subject's whole one.
        return re.sub("|".join(map(re.escape, named)), lambda found: self.subjects[found[0]], text)

    def gate(self, gate: Gate) -> str:
        """What was held against a limit, in one line: "end to end: model.onnx: artifact: top-1"."""
        artifact = None if gate.artifact is None else self.artifact(gate.artifact)
        parts = (gate.kind, artifact, self.subject(gate.subject), one_line(gate.statistic))
        return ": ".join(part for part in parts if part)

    def legend(self) -> tuple[tuple[str, str], ...]:
        """Every short name that leaves something out, with all of it."""
        every = (self.artifacts, self.subjects, self.routes)
        named = (pair for names in every for pair in names.items())
        return tuple((short, whole) for whole, short in named if short != whole)


def short_names(report: ValidationReport) -> ShortNames:
    """Of all a report speaks of, in its order."""
    paths: list[str | None] = [each.artifact for each in report.comparisons]
    paths += [each.artifact for each in report.gates]
    paths += [each.artifact for each in report.runs]
    paths += [each.artifact for each in report.paths]
    paths += [each.artifact for each in tower_runs(report)]
    routes = _unique((each.route for each in report.comparisons), _route)
    subjects = [each.subject for each in report.comparisons]
    subjects += [each.subject for each in report.copying]
    subjects += [each.subject for each in report.runs]
    subjects += [each.subject for each in tower_runs(report)]
    # Never those of weights, which name a matrix: its number is at the end.
    of_gates = [gate for gate in report.gates if gate.kind != "weights"]
    subjects += [_without_route(gate, routes, subjects) for gate in of_gates]
    found = ShortNames(
        artifacts=_artifacts(dict.fromkeys(path for path in paths if path is not None)),
        subjects=_unique(subjects, _subject),
        routes=routes,
        rows=(),
    )
    return ShortNames(found.artifacts, found.subjects, found.routes, _rows(report.comparisons, found))


def _rows(comparisons: Sequence[Comparison], names: ShortNames) -> tuple[str, ...]:
    """What one artifact is held against twice is told apart by that."""
    told = [
        one_line(f"{each.kind}: {names.subject(each.subject)}, {names.routes[each.route]}")
        for each in comparisons
    ]
    alike = Counter((each.artifact, words) for each, words in zip(comparisons, told, strict=True))
    taken: dict[str | None, set[str]] = {}
    found = []
    for each, words in zip(comparisons, told, strict=True):
        of_artifact = taken.setdefault(each.artifact, set())
        apart = f"{words}, {_against(each.reference)}" if alike[each.artifact, words] > 1 else words
        name = _untaken(apart, of_artifact)
        of_artifact.add(name)
        found.append(name)
    return tuple(found)


def _against(reference: str) -> str:
    if reference.startswith(TRANSFORMERS):
        return one_line(f"against the {reference.removeprefix(TRANSFORMERS)}")
    return one_line(f"against {reference}")


def _without_route(gate: Gate, routes: Mapping[str, str], subjects: list[str]) -> str:
    before, _, after = gate.subject.rpartition(": ")
    return before if before and (after in routes or before in subjects) else gate.subject


def _artifacts(paths: Iterable[str]) -> dict[str, str]:
    files = {path: one_line(PurePosixPath(path).name or path) for path in paths}
    twice = [name for name in files.values() if list(files.values()).count(name) > 1]
    names: dict[str, str] = {}
    for path, name in files.items():
        names[path] = _untaken(one_line(path) if name in twice else name, names.values())
    return names


def _unique(whole: Iterable[str], shorten: Callable[[str], str]) -> dict[str, str]:
    every = tuple(dict.fromkeys(whole))
    names: dict[str, str] = {}
    # First those of which nothing is left out, so that the legend has whatever is numbered.
    for each in sorted(every, key=lambda each: shorten(each) != each):
        short, whole = shorten(each), one_line(each)
        taken = names.values()
        names[each] = whole if short in taken and _is_free(whole, taken) else _untaken(short, taken)
    return {each: names[each] for each in every}


def _is_free(name: str, taken: Collection[str]) -> bool:
    return len(name) <= LONGEST and name not in taken


def _untaken(name: str, taken: Collection[str]) -> str:
    """The name, or with the first number behind it that nobody has."""
    numbered, number = name, 1
    while numbered in taken:
        number += 1
        numbered = f"{name} ({number})"
    return numbered


def _subject(whole: str) -> str:
    """Runtime and arithmetic: what a driver adds about rounding is for the legend."""
    return _cut(", ".join(whole.split(";")[0].split(", ")[:2]))


def _route(whole: str) -> str:
    match whole.count(","):
        case 0 if whole.startswith("prefill"):
            return "prefill"
        case 0 if whole.endswith("decode steps"):
            return "decode"
        case 0:
            return _cut(whole)
        case 1:
            return "prefill, decode"
        case _:
            return "in turns"


def _cut(words: str) -> str:
    words = one_line(words)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
