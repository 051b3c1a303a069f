"""An ARM64 root whose QEMU is a shell script, so that every way an emulation can end is had in a blink.

It lists three CPUs when it is asked for help, and otherwise executes what a test says.
"""

from __future__ import annotations

from pathlib import Path

from runtimes.arm64.root import QEMU, RECORD, SITE, Arm64Root, RootRecord, installed_versions

LISTING = r'printf "Available CPUs:\n  cortex-a55\n  cortex-a76\n  max\n"; exit 1'


def fake_root(directory: Path, script: str) -> Arm64Root:
    """The root, whole as `find_root` sees it."""
    record = RootRecord("10.0.2", "usr/bin/python3.13", installed_versions())
    root = Arm64Root(directory, record)
    for needed in (root.qemu.parent, directory / "usr/bin", directory / SITE):
        needed.mkdir(parents=True)
    (directory / record.python).touch()
    (directory / QEMU).write_text(f'#!/bin/sh\nif [ "$2" = help ]; then {LISTING}; fi\n{script}\n')
    root.qemu.chmod(0o755)
    (directory / RECORD).write_text(record.to_json())
    return root
