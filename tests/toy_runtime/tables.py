"""Adding the toy to the three tables, one entry each: all that is touched outside its own three parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from exporter.formats.table import FAMILIES
from exporter.lowering.table import LOWERINGS
from runtimes.formats import FORMATS, SUFFIXES
from runtimes.open import DRIVERS
from runtimes.opening import Opening
from runtimes.session import Session
from tests.toy_runtime import driver
from tests.toy_runtime.family import TOY, TOY_FORMAT
from tests.toy_runtime.lowering import make_lowering


def add_toy(
    monkeypatch: pytest.MonkeyPatch, open_artifact: Callable[[Opening], Session] = driver.open_artifact
) -> None:
    """Until the test ends."""
    monkeypatch.setitem(FAMILIES, TOY.name, TOY)
    monkeypatch.setitem(LOWERINGS, TOY.name, make_lowering)
    monkeypatch.setitem(DRIVERS, TOY_FORMAT, open_artifact)
    monkeypatch.setitem(SUFFIXES, TOY_FORMAT, ".npz")
    # The word a real runtime adds to `Format`, as the reader of manifests has it from there.
    monkeypatch.setattr("runtimes.manifest.Format", Literal[(*FORMATS, TOY_FORMAT)])
