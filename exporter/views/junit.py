"""JUnit XML of a report, as CI systems read it: a class per artifact, a test case per gate and per path
that was not executed.

Failed becomes a failure and Skipped a skip, and so does an execution path that was not executed; an
inconclusive report has no failure, so let the exit code decide. Times are of this machine: a step of the
validation judges several gates, among which its seconds are shared out, so that sums are right.
"""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as ET

from exporter.stopwatch import PART
from exporter.validation.report import Gate, Kind, PathRun, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from exporter.views.copy_wording import copy_sentences
from exporter.views.short_names import ShortNames, short_names
from exporter.views.wording import bound, quantity, verdict_word

# What XML 1.0 cannot hold even escaped (section 2.2 of the recommendation).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

NO_ARTIFACT = "checkpoint"  # class of what is said of no artifact

WITHIN = f"validate{PART}"  # of an export; a release that is checked again has these steps alone

_STEPS: dict[Kind, str] = {
    "weights": "weights read back",
    "lowering": "float twin",
    "path": "execution paths",
    "template": "chat template",
    "domain": "each language compared",
    "boundaries": f"the artifact{PART}boundaries",
    "range": "range",  # not timed
    "images": "pictures",
    "sounds": "sounds",
}
"""The validation's step that judges a kind, of an artifact's own or of the validation's: for all others it
is the run of the artifact itself."""
THE_RUN = "the artifact"


def to_junit(report: ValidationReport) -> str:
    """The report's gates as a JUnit document."""
    found = Counter(verdict_word(gate.verdict) for gate in report.gates)
    not_executed = [(run, run.result.reason) for run in report.paths if isinstance(run.result, Skipped)]
    times, names = gate_seconds(report), short_names(report)
    counts = {
        "tests": str(len(report.gates) + len(not_executed)),
        "failures": str(found["failed"]),
        "errors": "0",
        "skipped": str(found["skipped"] + len(not_executed)),
        "time": f"{sum(times):.3f}",
    }
    root = ET.Element("testsuites", {"name": "gemma-export", **counts})
    name = _clean(f"{report.model}, recipe {report.recipe}, target {report.target}")
    suite = ET.SubElement(root, "testsuite", {"name": name, **counts})
    properties = ET.SubElement(suite, "properties")
    facts = {"text_sha256": report.text_sha256, "text_tokens": str(report.text_tokens), **report.versions}
    facts |= {f"device {each.profile}": each.word for each in report.devices}
    for key, value in facts.items():
        ET.SubElement(properties, "property", {"name": _clean(key), "value": _clean(value)})
    for gate, seconds in zip(report.gates, times, strict=True):
        case = _case(suite, gate.artifact, f"{gate.kind}: {names.subject(gate.subject)}: {gate.statistic}")
        case.set("time", f"{seconds:.3f}")
        _add_verdict(case, gate, names, copy_sentences(report, gate))
    for run, reason in not_executed:
        _add_path(suite, run, reason)
    if report.not_checked:
        lines = "\n".join(f"not checked: {each}" for each in report.not_checked)
        ET.SubElement(suite, "system-out").text = _clean(lines)
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def gate_seconds(report: ValidationReport) -> list[float]:
    """Of each gate, its share of the step that judged it; 0 where no step of its own was timed."""
    steps = [_step(gate) for gate in report.gates]
    sharing = Counter(steps)
    seconds = {timing.step.removeprefix(WITHIN): timing.seconds for timing in report.timings}
    return [seconds.get(step, 0.0) / sharing[step] for step in steps]


def _step(gate: Gate) -> str:
    own = _STEPS.get(gate.kind, THE_RUN)
    return own if gate.artifact is None else f"{gate.artifact}{PART}{own}"


def _add_verdict(case: ET.Element, gate: Gate, names: ShortNames, details: tuple[str, ...]) -> None:
    match gate.verdict:
        case Skipped(reason):
            ET.SubElement(case, "skipped", {"message": _clean(reason)})
        case Failed(measured, _, unit) as verdict:
            message = f"measured {quantity(measured, unit)}, limit {bound(verdict)}"
            failure = ET.SubElement(case, "failure", {"message": message, "type": gate.kind})
            failure.text = _clean("\n".join((f"{names.gate(gate)}: {message}", *details)))
        case Passed(measured, _, unit) as verdict:
            out = ET.SubElement(case, "system-out")
            message = f"measured {quantity(measured, unit)}, limit {bound(verdict)}"
            out.text = _clean("\n".join((message, *details)))


def _add_path(suite: ET.Element, run: PathRun, reason: str) -> None:
    case = _case(suite, run.artifact, f"path: {run.title}: executed")
    case.set("time", "0.000")
    ET.SubElement(case, "skipped", {"message": _clean(reason)})


def _case(suite: ET.Element, artifact: str | None, name: str) -> ET.Element:
    # CI systems group by classname and split it at dots, which file names have too.
    group = (artifact or NO_ARTIFACT).replace(".", "_")
    return ET.SubElement(suite, "testcase", {"classname": _clean(group), "name": _clean(name)})


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
