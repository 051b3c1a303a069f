"""An export killed with SIGKILL, several times over, ends in the release an uninterrupted one makes.

Not asserted byte by byte: the reports, which tell how fast this run was, and what holds their digests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.checkpoints import write_huggingface

TIMED = ("report", "junit.xml", "README.md", "manifest.json", "SHA256SUMS")  # beginnings of names
PATIENCE = 180.0  # seconds; a tiny export takes some ten


def start(checkpoint: Path, out: Path) -> subprocess.Popen[bytes]:
    flags = ("--target", "android", "--recipe", "int8", "--context", "96", "--model", checkpoint, "-o", out)
    command = [sys.executable, "-m", "exporter.cli", *map(str, flags)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_when(reached: Callable[[], bool], checkpoint: Path, out: Path) -> None:
    """Start an export and SIGKILL it as soon as it has come that far."""
    process = start(checkpoint, out)
    end = time.monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None, "the export ended before the point it was to be killed at"
        assert time.monotonic() < end
        time.sleep(0.0005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def finish(checkpoint: Path, out: Path) -> dict[str, bytes]:
    """Run to the end; the files of the release by relative path, but for the timed ones."""
    assert start(checkpoint, out).wait(PATIENCE) == 0
    files = (path for path in out.rglob("*") if path.is_file())
    return {
        str(path.relative_to(out)): path.read_bytes() for path in files if not path.name.startswith(TIMED)
    }


def work(out: Path, pattern: str) -> Iterator[Path]:
    return out.parent.glob(f".{out.name}.work/export/{pattern}")


def matrices(out: Path) -> dict[str, tuple[int, int]]:
    """Finished matrix files and what tells one that was written again: inode and time."""
    found = {path.name: path.stat() for path in work(out, "quantized-*/*.safetensors")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def staged(out: Path, pattern: str) -> Iterator[Path]:
    return out.parent.glob(f".{out.name}.staging-*/release/{pattern}")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_huggingface(tmp_path / "tiny")


def test_a_release_is_the_same_after_any_number_of_kills(tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "killed" / "release"
    points: dict[str, Callable[[], bool]] = {
        "a few matrices": lambda: len(matrices(out)) >= 3,
        "the quantised checkpoint": lambda: any(work(out, "quantized-*/quantized.json")),
        "the first artifact": lambda: any(staged(out, "model.litertlm")),
        "the second artifact": lambda: any(staged(out, "onnx/model.onnx")),
        "validation": lambda: any(work(out, "validation-*")),
        "the report": lambda: any(staged(out, "report.json")),
    }
    kept: dict[str, tuple[int, int]] = {}
    for point, reached in points.items():
        kill_when(reached, checkpoint, out)
        assert not out.exists(), f"killed at {point}, and a release is there"
        now = matrices(out)
        assert kept.items() <= now.items(), f"killed at {point}: finished matrices were written again"
        kept = now
    assert len(kept) > 20
    whole = finish(checkpoint, tmp_path / "whole" / "release")
    assert finish(checkpoint, out) == whole
    assert {"model.litertlm", "onnx/model.onnx"} <= set(whole)
    assert [path.name for path in out.parent.iterdir()] == ["release"]
