"""On which execution paths a release is checked again, and against which checkpoint.

Not asserted here: validating one again (tests/end_to_end/test_command_line.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import UsageError
from exporter.formats.table import paths_of
from exporter.planning.plan import Plan
from exporter.revalidation import CheckAgain, _paths, revalidate
from exporter.stopwatch import Stopwatch
from runtimes.formats import FORMATS
from tests.fakes import silent
from tests.jobs import a_plan, a_variant
from tests.scripted_media import hearing_release
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_image_stores import write_tiny_multimodal


@pytest.fixture(scope="module")
def plan() -> Plan:
    return a_plan(RandomSource(tiny_gemma3()), a_variant("int4", ("onnx", "coreml")))


def test_a_cpu_that_was_asked_for_is_a_path_of_every_format_beside_the_others(plan: Plan) -> None:
    paths = _paths(CheckAgain(Path("release"), cpu="cortex-a76"), plan)
    for format in FORMATS:
        *others, emulated = paths(format)
        assert [path.name for path in others] == [path.name for path in paths_of(format)]
        assert emulated.title.endswith("on an emulated cortex-a76")


def test_it_goes_without_accelerators_and_without_being_asked_for_it_is_none(plan: Plan) -> None:
    (*others, emulated) = _paths(CheckAgain(Path("release"), accelerators=False, cpu="max"), plan)("onnx")
    assert all(path.missing() == "--no-accelerators was given" for path in others)
    assert emulated.name == "onnx-max"
    assert _paths(CheckAgain(Path("release")), plan) is paths_of


def test_another_checkpoint_that_hears_nothing_is_said_to_be_another(tmp_path: Path) -> None:
    release = hearing_release(tmp_path)
    model = str(write_tiny_multimodal(tmp_path / "deaf", "Gemma 3"))
    with pytest.raises(UsageError, match=r"is not the checkpoint .* was made from"):
        revalidate(CheckAgain(release, model), silent, Stopwatch())
