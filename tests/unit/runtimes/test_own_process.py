"""Commands that end well, badly, or not at all, and what is said of each."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from runtimes.errors import ExecutionFailed
from runtimes.own_process import KEPT_LINES, run_in_own_process


def run(program: str, seconds: float = 20) -> tuple[str, ...]:
    return run_in_own_process([sys.executable, "-c", program], what="the lab", seconds=seconds).lines


def test_what_it_printed_to_both_outputs_comes_back() -> None:
    said = run("import sys; print('out', flush=True); print('err', file=sys.stderr)")
    assert said == ("out", "err")


def test_a_crash_is_named_by_its_signal_with_what_was_printed_last() -> None:
    program = "import os, signal; print('line 1\\nline 2\\n\\nline 3\\nline 4', flush=True)\n"
    with pytest.raises(ExecutionFailed, match="SIGSEGV") as found:
        run(program + "os.kill(os.getpid(), signal.SIGSEGV)")
    assert str(found.value) == (
        "the lab: ended by SIGSEGV; it printed last: " + " / ".join(f"line {i}" for i in range(2, 5))
    )
    assert KEPT_LINES == 3


def test_an_exit_code_is_a_failure() -> None:
    with pytest.raises(ExecutionFailed, match="exit code 7; it printed last: nothing"):
        run("raise SystemExit(7)")


def test_a_hang_is_ended_at_its_limit_with_everything_it_started(tmp_path: Path) -> None:
    child = "import time; time.sleep(60)"
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "print('compiling', flush=True)\n"
        "time.sleep(60)"
    )
    begin = time.perf_counter()
    with pytest.raises(ExecutionFailed, match=r"not done after 3 s and was ended; .* compiling"):
        run(program, seconds=3)
    assert time.perf_counter() - begin < 20
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_it_sees_the_environment_it_is_given() -> None:
    command = [sys.executable, "-c", "import os; print(os.environ.get('LAB'))"]
    environment = {**os.environ, "LAB": "yes"}
    assert run_in_own_process(command, what="", seconds=20, environment=environment).lines == ("yes",)


def is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
