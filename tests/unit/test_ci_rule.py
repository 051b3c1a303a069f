"""In CI a skip is a failure, whether a test skips itself or its file is never collected.

Not about which tests may skip elsewhere. The hooks of tests/conftest.py run in a pytest of their own.
"""

from __future__ import annotations

import pytest

pytest_plugins = "pytester"

SKIPPED_WHEN_RUN = {
    "test_called": """
        import pytest

        def test_skips():
            pytest.skip("no device")
        """,
    "test_marked": """
        import pytest

        @pytest.mark.skip(reason="no device")
        def test_skips(): ...
        """,
}
SKIPPED_WHEN_COLLECTED = {
    "test_module": """
        import pytest

        pytest.skip("no device", allow_module_level=True)
        """,
    "test_import": """
        import pytest

        pytest.importorskip("no_such_module", reason="no device")
        """,
}
SKIPPED = SKIPPED_WHEN_RUN | SKIPPED_WHEN_COLLECTED
NOT_SKIPPED = {
    "test_plain": "def test_passes(): ...",
    "test_expected": """
        import pytest

        @pytest.mark.xfail(strict=True)
        def test_fails():
            assert False
        """,
}


@pytest.fixture
def project(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A directory of tests under the project's rule, outside CI."""
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest(
        "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport"
    )
    pytester.makepyfile(**NOT_SKIPPED, **SKIPPED)
    return pytester


def test_a_skip_of_either_kind_fails_in_ci(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    result = project.runpytest_subprocess("-ra", "--continue-on-collection-errors")
    result.assert_outcomes(passed=1, xfailed=1, failed=1, errors=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    for name in SKIPPED:
        result.stdout.re_match_lines(f"(FAILED|ERROR) {name}.*skipped in CI, .*no device")


@pytest.mark.parametrize("name", SKIPPED_WHEN_COLLECTED)
def test_a_file_that_is_not_collected_stops_ci(
    name: str, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    result = project.runpytest_subprocess("test_plain.py", f"{name}.py")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_skip_of_either_kind_is_a_skip_elsewhere(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess()
    result.assert_outcomes(passed=1, xfailed=1, skipped=4)
    assert result.ret == pytest.ExitCode.OK
