"""An export whose disk fills up: refused with the reason, nothing left behind.

Not about the disk of a scratch directory, or of a float twin (tests/unit/exporter/lowering/litert/twin).
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

from tests.checkpoints import write_huggingface


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: the kernel refuses the write the same way."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    checkpoint = write_huggingface(tmp_path / "checkpoint")
    before = set(tmp_path.iterdir())
    flags = ("--target", "desktop", "--context", "64", "--model", checkpoint, "-o", tmp_path / "release")
    done = subprocess.run(
        [sys.executable, "-m", "exporter.cli", *map(str, flags)],
        preexec_fn=limit,  # the limit must hold in the child only
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "disk is full" in done.stderr or "File too large" in done.stderr
    assert set(tmp_path.iterdir()) == before
