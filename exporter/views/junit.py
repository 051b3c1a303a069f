"""JUnit XML of a report, as CI systems read it: one test case per gate, and per path not executed.

Failed becomes a failure and Skipped a skip, and so does an execution path that was not executed; an
inconclusive report has no failure, so let the exit code decide. Not about anything else.
"""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as ET

from exporter.validation.report import Gate, PathRun, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped
from exporter.views.copy_wording import copy_sentences
from exporter.views.wording import bound, gate_name, quantity, verdict_word

# What XML 1.0 cannot hold even escaped (section 2.2 of the recommendation).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: ValidationReport) -> str:
    """The report's gates as a JUnit document."""
    found = Counter(verdict_word(gate.verdict) for gate in report.gates)
    not_executed = [(run, run.result.reason) for run in report.paths if isinstance(run.result, Skipped)]
    counts = {
        "tests": str(len(report.gates) + len(not_executed)),
        "failures": str(found["failed"]),
        "errors": "0",
        "skipped": str(found["skipped"] + len(not_executed)),
    }
    root = ET.Element("testsuites", {"name": "gemma-export", **counts})
    name = _clean(f"{report.model}, recipe {report.recipe}, target {report.target}")
    suite = ET.SubElement(root, "testsuite", {"name": name, **counts})
    properties = ET.SubElement(suite, "properties")
    facts = {"text_sha256": report.text_sha256, "text_tokens": str(report.text_tokens), **report.versions}
    for key, value in facts.items():
        ET.SubElement(properties, "property", {"name": _clean(key), "value": _clean(value)})
    for gate in report.gates:
        _add_gate(suite, gate, copy_sentences(report, gate))
    for run, reason in not_executed:
        _add_path(suite, run, reason)
    if report.not_checked:
        lines = "\n".join(f"not checked: {each}" for each in report.not_checked)
        ET.SubElement(suite, "system-out").text = _clean(lines)
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _add_gate(suite: ET.Element, gate: Gate, details: tuple[str, ...]) -> None:
    case = _case(suite, gate.kind, gate.artifact, f"{gate.subject}: {gate.statistic}")
    match gate.verdict:
        case Skipped(reason):
            ET.SubElement(case, "skipped", {"message": _clean(reason)})
        case Failed(measured, _, unit) as verdict:
            message = f"measured {quantity(measured, unit)}, limit {bound(verdict)}"
            failure = ET.SubElement(case, "failure", {"message": message, "type": gate.kind})
            failure.text = _clean("\n".join((f"{gate_name(gate)}: {message}", *details)))
        case Passed(measured, _, unit) as verdict:
            out = ET.SubElement(case, "system-out")
            message = f"measured {quantity(measured, unit)}, limit {bound(verdict)}"
            out.text = _clean("\n".join((message, *details)))


def _add_path(suite: ET.Element, run: PathRun, reason: str) -> None:
    case = _case(suite, "path", run.artifact, f"{run.title}: executed")
    ET.SubElement(case, "skipped", {"message": _clean(reason)})


def _case(suite: ET.Element, kind: str, artifact: str | None, name: str) -> ET.Element:
    # CI systems group by classname and split it at dots, which file names have too.
    group = f"{kind}.{(artifact or 'no artifact').replace('.', '_')}"
    return ET.SubElement(suite, "testcase", {"classname": _clean(group), "name": _clean(name), "time": "0"})


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
