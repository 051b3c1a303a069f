"""Every way out of the command: words on stderr, and an exit code that means one thing only.

Not asserted here: exports that are interrupted (tests/end_to_end/test_interrupted_exports.py).
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from exporter.ci_errors import ACTIONS
from exporter.errors import UsageError
from exporter.exits import exit_codes, worst_exit_code
from runtimes.errors import ArtifactError


def left_with(
    raising: Callable[[], object], capsys: pytest.CaptureFixture[str], show_traceback: bool = False
) -> tuple[object, str]:
    """The exit code and stderr of a command that does this."""
    with pytest.raises(SystemExit) as caught, exit_codes(show_traceback):
        raising()
    return caught.value.code, capsys.readouterr().err


def raiser(error: BaseException) -> Callable[[], object]:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize("error", [UsageError("--x", "is odd", "leave it"), ArtifactError("m.onnx: odd")])
def test_a_refusal_is_one_line_and_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert left_with(raiser(error), capsys) == (2, f"error: {error}\n")


def test_a_job_of_github_actions_gets_a_refusal_among_its_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = UsageError("--x", "is 100 % odd", "leave it")
    monkeypatch.setenv(ACTIONS, "true")
    plain, told = left_with(raiser(error), capsys)[1].splitlines()
    assert plain == f"error: {error}"
    assert told == f"::error title=gemma-export::{error}".replace("100 %", "100 %25")


@pytest.mark.parametrize(
    ("output", "said"), [("", b"\xe2\x89\xa4 0\n"), ("ascii", b"? 0\n"), ("closed", b"")]
)
def test_an_output_that_knows_few_characters_or_is_closed_is_no_defect(output: str, said: bytes) -> None:
    program = (
        "import sys; from exporter.exits import exit_codes\n"
        "with exit_codes(False):\n"
        "    print('\\u2264 0', file=sys.stdout)\n"
    )
    shell = 'exec "$@" >&-' if output == "closed" else 'exec "$@"'
    command = ["/bin/sh", "-c", shell, "sh", sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONIOENCODING": output if output == "ascii" else "utf-8"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_a_name_that_is_too_long_is_a_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = left_with(raiser(OSError(errno.ENAMETOOLONG, "too long", "x" * 5000)), capsys)
    assert code == 2
    assert len(said) < 300
    assert said.endswith("...: is longer than names may be on this system; give a shorter one\n")


def test_a_defect_is_70_with_where_to_report_it_and_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said = left_with(raiser(ValueError("x" * 9000 + "\n")), capsys)
    assert code == 70
    assert said.startswith("error: unexpected ValueError: xxx")
    assert said.count("\n") == 1
    assert "report it to whom you have it from" in said
    assert "--traceback shows where" in said
    assert len(said) < 500


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = ModuleNotFoundError("No module named 'torchy.nn'", name="torchy.nn")
    code, said = left_with(raiser(missing), capsys)
    assert code == 2
    assert said.startswith("error: torchy: the package is not installed")
    assert "pip install '.[export]'" in said


@pytest.mark.parametrize("name", ["exporter.nothing", "click.nothing", None])
def test_a_module_that_ought_to_be_there_is_a_defect(
    name: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left_with(raiser(ModuleNotFoundError("gone", name=name)), capsys)[0] == 70


def test_a_defect_shows_its_traceback_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = left_with(raiser(KeyError("q_proj")), capsys, show_traceback=True)
    assert code == 70
    assert said.startswith("Traceback (most recent call last):")
    assert said.splitlines()[-1].startswith("error: unexpected KeyError: 'q_proj'")


def test_what_is_kept_is_said_whatever_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError("odd")
    error.add_note("What was finished is kept.")
    assert left_with(raiser(error), capsys)[1].endswith("\nWhat was finished is kept.\n")


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (15, 143, "term")]
)
def test_a_signal_has_its_own_code_and_the_handlers_come_back(
    number: int, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    found, said = left_with(lambda: os.kill(os.getpid(), number), capsys)
    assert found == code
    assert said.startswith(word)
    assert "Nothing is left of it" in said
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_disturb_the_clearing_up(capsys: pytest.CaptureFixture[str]) -> None:
    cleared = []

    def impatient() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleared.append(True)

    assert left_with(impatient, capsys)[0] == 143
    assert cleared == [True]


def test_an_interrupt_that_a_library_turned_into_its_own_error_is_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError("callback failed") from error

    assert left_with(run, capsys)[0] == 130


def test_a_reader_that_goes_away_is_141_and_silent_on_its_side() -> None:
    program = (
        "import sys, time\n"
        "from exporter.console import make_console\n"
        "from exporter.exits import exit_codes\n"
        "console = make_console()\n"
        "with exit_codes(False):\n"
        "    while True:\n"
        "        console.print('line')\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 141
    assert said == "stopped: nobody reads the output any more\n"


def test_output_that_is_only_written_at_the_end_counts_too() -> None:
    program = (
        "import sys\n"
        "from exporter.exits import exit_codes\n"
        "with exit_codes(False):\n"
        "    print('x')\n"
        "    sys.exit(1)\n"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.returncode == 141
    assert "Exception ignored" not in done.stderr


FAREWELL = """
import atexit, os, sys
from exporter.exits import silence_farewells
atexit.register(lambda: os.write(2, b"INFO: DestroyAccelerator"))
atexit.register(silence_farewells)
if sys.argv[1] == "used":
    sys.modules["ai_edge_litert"] = sys
print("error: said", file=sys.stderr, end="")
"""


@pytest.mark.parametrize(
    ("litert", "said"), [("used", "error: said"), ("unused", "error: saidINFO: DestroyAccelerator")]
)
def test_what_litert_says_when_all_is_over_is_not_heard(litert: str, said: str) -> None:
    command = [sys.executable, "-c", FAREWELL, litert]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == said


@pytest.mark.parametrize(
    ("codes", "worst"), [((0, 0), 0), ((0, 3), 3), ((3, 1, 0), 1), ((1, 0), 1), ((3,), 3)]
)
def test_of_several_releases_the_worst_decides_the_exit_code(codes: tuple[int, ...], worst: int) -> None:
    assert worst_exit_code(codes) == worst
