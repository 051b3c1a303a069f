"""Which runtimes of the system itself open an artifact beside its driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtimes.errors import RuntimeUnavailable
from runtimes.formats import FORMATS
from runtimes.manifest import Artifact
from runtimes.open import openers_of_this_system


def artifact(format: str) -> Artifact:
    return Artifact("text", format, "model", 64, 512, 16, "all")  # type: ignore[arg-type]  # one of FORMATS


def test_a_mac_opens_core_ml_packages_by_core_ml_on_each_choice_of_processors(tmp_path: Path) -> None:
    openers = openers_of_this_system(artifact("coreml"), "darwin")
    assert len(openers) == 3
    for opener in openers:
        with pytest.raises(RuntimeUnavailable, match="Core ML runs on macOS only"):
            opener(tmp_path, artifact("coreml"))


@pytest.mark.parametrize("format", FORMATS)
def test_no_other_system_has_one_and_no_other_format(format: str) -> None:
    assert openers_of_this_system(artifact(format), "linux") == ()
    assert format == "coreml" or openers_of_this_system(artifact(format), "darwin") == ()
