"""Exports that are stopped by a signal, and two jobs at one output: real processes.

Not about SIGKILL (`test_killed_exports`) or full disks (`test_full_disks`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoints import write_huggingface

PATIENCE = 240.0  # seconds; a tiny export takes some ten


def start(checkpoint: Path, out: Path) -> subprocess.Popen[str]:
    flags = ("--target", "desktop", "--recipe", "int8", "--context", "64", "--model", checkpoint, "-o", out)
    command = [sys.executable, "-m", "exporter.cli", *map(str, flags)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.001)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr."""
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def has_matrices(out: Path) -> bool:
    return len(list(out.parent.glob(f".{out.name}.work/export/quantized-*/*.safetensors"))) >= 3


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_huggingface(tmp_path / "tiny")


def test_a_signal_leaves_what_resuming_needs_and_says_how_to_go_on(
    tmp_path: Path, checkpoint: Path
) -> None:
    out = tmp_path / "place" / "release"
    for number, code, word in ((signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")):
        process = start(checkpoint, out)
        wait_for(lambda: any(out.parent.glob(".release.staging-*/release/tokenizer.json")), process)
        wait_for(lambda: has_matrices(out), process)
        process.send_signal(number)
        found, said = end(process)
        assert found == code, said
        assert said.splitlines()[-2] == f"{word}."
        assert f"kept in {out.parent / '.release.work'}: run the same command again" in said
        assert "Traceback" not in said
        assert os.listdir(out.parent) == [".release.work"]
    assert end(start(checkpoint, out))[0] == 0
    assert os.listdir(out.parent) == ["release"]


def test_a_second_job_at_one_output_is_refused_and_harms_nothing(tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "place" / "release"
    first = start(checkpoint, out)
    wait_for(lambda: has_matrices(out), first)
    first.send_signal(signal.SIGSTOP)  # so that it is still under way when the others come
    try:
        code, said = end(start(checkpoint, out))
        assert code == 2
        assert "another export or validation of it is under way" in said
        assert end(start(checkpoint, out.parent / "other"))[0] == 0
    finally:
        first.send_signal(signal.SIGCONT)
    code, said = end(first)
    assert code == 0, said
    assert sorted(os.listdir(out.parent)) == ["other", "release"]
