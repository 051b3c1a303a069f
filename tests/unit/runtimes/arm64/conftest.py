"""Roots that are made where a test can damage them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.arm64.root import Arm64Root
from tests.fake_arm64 import fake_root

RootOf = Callable[[str], Arm64Root]


@pytest.fixture
def root_of(tmp_path: Path) -> RootOf:
    """A root whose QEMU executes this script."""
    return lambda script: fake_root(tmp_path / "root", script)
