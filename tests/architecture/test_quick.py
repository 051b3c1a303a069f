"""`make quick` leaves out what asks for torch, and nothing else: a test cannot ask for it unnoticed.

The plugin runs in a pytest of its own, alone and with two workers.
"""

from __future__ import annotations

import pytest

pytest_plugins = "pytester"

FILES = {
    "test_without": "def test_passes(): ...",
    "test_wrong": "def test_fails():\n    assert False, 'its own fault'",
    "test_with": "import torch\n\ndef test_never_collected(): ...",
    "test_indirectly": "import exporter.models.text.rotary\n\ndef test_never_collected(): ...",
    "test_missing": "import no_such_package\n\ndef test_never_collected(): ...",
    "test_while_running": """
        import pytest

        @pytest.fixture(scope="module")
        def tensor():
            import torch
            return torch.zeros(3)

        def test_in_its_fixture(tensor): ...

        def test_in_a_fixture_that_failed_before(tensor): ...

        def test_in_its_body():
            from exporter.models.text import eager

        def test_behind_an_exit_code():
            try:
                import torch
            except Exception:
                code = 1
            else:
                code = 0
            assert code == 0

        def test_that_can_do_without():
            try:
                import torch
            except ImportError:
                pass
        """,
}


@pytest.fixture
def project(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A directory for tests, in CI and under its rule about skips, without plugins nobody asked for."""
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("CI", "true")
    pytester.makeconftest(
        "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport"
    )
    return pytester


@pytest.mark.parametrize(
    "workers", [(), ("-p", "xdist", "--numprocesses", "2")], ids=["alone", "two workers"]
)
def test_what_asks_for_torch_is_left_out_and_counted(
    workers: tuple[str, ...], project: pytest.Pytester
) -> None:
    project.makepyfile(**FILES)
    arguments = ("-p", "tests.quick", "--continue-on-collection-errors", *workers)
    result = project.runpytest_subprocess(*arguments)
    result.stdout.fnmatch_lines(["*2 files or directories of tests left out whole*"])
    result.stdout.fnmatch_lines(["*its own fault*"])
    assert result.parseoutcomes() == {"failed": 1, "passed": 2, "left": 4, "errors": 1}  # "4 left out"
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_with_nothing_wrong_it_succeeds(project: pytest.Pytester) -> None:
    project.makepyfile(
        **{name: FILES[name] for name in ("test_without", "test_with", "test_while_running")}
    )
    result = project.runpytest_subprocess("-p", "tests.quick")
    assert result.parseoutcomes() == {"passed": 2, "left": 4}
    assert result.ret == pytest.ExitCode.OK
