"""A root whose QEMU is a shell script, so that every way an emulation can end is had in a blink."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.arm64.root import QEMU, RECORD, SITE, Arm64Root, RootRecord, installed_versions

LISTING = r'printf "Available CPUs:\n  cortex-a55\n  cortex-a76\n  max\n"; exit 1'

RootOf = Callable[[str], Arm64Root]


@pytest.fixture
def root_of(tmp_path: Path) -> RootOf:
    """A root whose QEMU executes this script, and lists three CPUs when it is asked for help."""

    def made(script: str) -> Arm64Root:
        record = RootRecord("10.0.2", "usr/bin/python3.13", installed_versions())
        root = Arm64Root(tmp_path / "root", record)
        for directory in (root.qemu.parent, root.directory / "usr/bin", root.directory / SITE):
            directory.mkdir(parents=True)
        (root.directory / record.python).touch()
        (root.directory / QEMU).write_text(f'#!/bin/sh\nif [ "$2" = help ]; then {LISTING}; fi\n{script}\n')
        root.qemu.chmod(0o755)
        (root.directory / RECORD).write_text(record.to_json())
        return root

    return made
