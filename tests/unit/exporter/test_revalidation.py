"""Which checkpoint a release is taken to be made from, and on which paths it is executed.

Not asserted here: validating one again (tests/end_to_end/test_command_line.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.formats.table import paths_of
from exporter.planning.plan import Plan
from exporter.revalidation import CheckAgain, _is_made_from, _paths
from runtimes.formats import FORMATS
from tests.jobs import a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3

SEALED = {"config.json": "aa", "model.safetensors": "bb"}


@pytest.mark.parametrize(
    ("found", "same"),
    [
        (SEALED, True),
        (SEALED | {"added_tokens.json": "cc", "chat_template.json": "dd"}, True),  # not listed once
        (SEALED | {"special_tokens_map.json": "ee"}, True),
        (SEALED | {"model.safetensors": "ee"}, False),
        (SEALED | {"adapter.safetensors": "ff"}, False),
        ({"config.json": "aa"}, False),
    ],
)
def test_a_release_is_of_the_checkpoint_whose_digests_it_has(found: dict[str, str], same: bool) -> None:
    assert _is_made_from(SEALED, found) is same


def test_a_file_that_was_listed_counts() -> None:
    listed = SEALED | {"added_tokens.json": "cc"}
    assert _is_made_from(listed, listed)
    assert not _is_made_from(listed, SEALED | {"added_tokens.json": "changed"})
    assert not _is_made_from(listed, SEALED)


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
