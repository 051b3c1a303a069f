"""`make quick`: a pytest plugin that leaves out every test which asks for torch, found out by refusing it.

    python -m pytest -p tests.quick -n 2 tests/unit

No list says which tests those are. Under this plugin the packages in `SLOW` cannot be imported, so a file
that imports one, through whatever it imports, is left out whole; a test that asks for one while it runs,
and fails, is left out too. Whatever else fails, fails. That the files left out do not become all of them
is import-linter's to say: pyproject.toml names the rooms that do without torch.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

SLOW = ("torch", "coremltools")  # both take seconds to import; what else does imports torch
LEFT_OUT = "left out"
FILES = "files_left_out"  # in what a worker of pytest-xdist tells the process that prints


class SlowPackageError(ModuleNotFoundError):
    """A package that `make quick` does without was asked for."""


class SlowPackages(MetaPathFinder):
    """Refuses to find the slow packages, and remembers that one was looked for."""

    asked = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] not in SLOW:
            return None
        self.asked = True
        raise SlowPackageError(f"{fullname} is not for quick tests", name=fullname)


refusal = SlowPackages()
sys.meta_path.insert(0, refusal)
files_left_out: set[str] = set()


def pytest_report_header() -> str:
    return f"quick: tests that ask for {' or '.join(SLOW)} are left out"


def pytest_collectstart() -> None:
    refusal.asked = False


def pytest_runtest_logstart() -> None:
    refusal.asked = False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.failed and refusal.asked:
        files_left_out.add(collector.nodeid)
        report.outcome, report.longrepr, report.result = "passed", None, []
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (refusal.asked or _comes_of_a_refusal(call.excinfo)):
        # Skipped, so that a test without its fixtures is not called; told apart by its user property.
        report.outcome, report.longrepr = "skipped", None
        report.user_properties.append((LEFT_OUT, True))
    return report


def _comes_of_a_refusal(found: pytest.ExceptionInfo[BaseException] | None) -> bool:
    """Whether a fixture failed so in an earlier test, which pytest then raises again."""
    error = found.value if found else None
    while error is not None and not isinstance(error, SlowPackageError):
        error = error.__cause__ or error.__context__
    return error is not None


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, str] | None:
    if isinstance(report, pytest.TestReport) and (LEFT_OUT, True) in map(tuple, report.user_properties):
        return LEFT_OUT, "-", LEFT_OUT.upper()
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[FILES] = sorted(files_left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    files_left_out.update(getattr(node, "workeroutput", {}).get(FILES, ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"{len(files_left_out)} files or directories of tests left out whole")
