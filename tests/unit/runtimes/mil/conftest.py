"""One small language model's package, shared by this folder's tests; they copy what they damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.parity.mil_packages import save_language_model


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("mil") / "model.mlpackage")


@pytest.fixture
def damaged(language_model: Path, tmp_path: Path) -> Path:
    """A copy of the package, to be changed."""
    copy = tmp_path / "damaged.mlpackage"
    shutil.copytree(language_model, copy)
    return copy
