"""The order files are handed to workers in: tests of the real model first and last.

Not about how pytest-xdist hands them out. The hook of tests/conftest.py runs in a pytest of its own.
"""

from __future__ import annotations

import pytest

pytest_plugins = "pytester"

PLAIN = "def test_plain(): ..."
MADE = """
    import pytest

    def test_plain(): ...

    @pytest.mark.sample
    def test_real(): ...
    """


def ordered(pytester: pytest.Pytester, pytestconfig: pytest.Config, **files: str) -> list[str]:
    pytester.makeconftest("from tests.conftest import pytest_collection_modifyitems")
    pytester.makeini("[pytest]\nmarkers = sample")
    pytester.makepyfile(**files)
    pytester.syspathinsert(pytestconfig.rootpath)
    lines = pytester.runpytest_inprocess("--collect-only", "-q").outlines
    return list(dict.fromkeys(line.partition(".py::")[0] for line in lines if "::" in line))


def test_one_file_of_the_real_model_comes_first_and_the_others_last(
    pytester: pytest.Pytester, pytestconfig: pytest.Config
) -> None:
    files = {"test_a": PLAIN, "test_b": MADE, "test_c": MADE, "test_d": PLAIN}
    assert ordered(pytester, pytestconfig, **files) == ["test_b", "test_a", "test_d", "test_c"]


def test_without_any_they_stay_as_they_were_found(
    pytester: pytest.Pytester, pytestconfig: pytest.Config
) -> None:
    assert ordered(pytester, pytestconfig, test_a=PLAIN, test_b=PLAIN) == ["test_a", "test_b"]
