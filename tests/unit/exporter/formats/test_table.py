"""The table of runtimes is whole: every format in one family, every family sound and with a lowering."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from exporter.byte_size import GIB
from exporter.formats.family import Prompting, RuntimeFamily
from exporter.formats.table import (
    FAMILIES,
    drivers_of,
    facts_of,
    families_of,
    family_of,
    paths_not_asked_for,
    paths_of,
)
from exporter.lowering.table import LOWERINGS, lowerings_for
from exporter.models.published import published_spec
from exporter.models.vision.spec import BlockLayers
from exporter.schemes import SCHEMES
from runtimes.formats import FORMATS, Format
from runtimes.manifest import Artifact
from runtimes.open import DRIVERS, MULTIMODAL_SESSIONS

FAMILY = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
CHUNK = 128


def test_every_format_is_in_one_family_and_has_a_driver_and_a_lowering() -> None:
    written = [format for family in FAMILIES.values() for format in family.formats]
    assert sorted(written) == sorted(FORMATS)
    assert set(DRIVERS) == set(FORMATS)
    assert set(LOWERINGS) == set(FAMILIES)
    assert {name: family.name for name, family in FAMILIES.items()} == {name: name for name in FAMILIES}


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_asked_of_a_format_is_answered_by_its_family(format: Format) -> None:
    family = family_of(format)
    assert format in family.formats
    assert facts_of(format).name == format
    assert drivers_of(format) == family.drivers


def test_families_come_once_and_in_the_order_of_the_formats() -> None:
    formats: tuple[Format, ...] = ("coreml", "litertlm", "tflite")
    assert [family.name for family in families_of(formats)] == ["coreml", "litert"]
    assert list(lowerings_for(formats)) == ["coreml", "litert"]
    assert families_of(()) == ()


@FAMILY
def test_every_scheme_carried_is_one_there_is_and_the_others_have_a_reason(family: RuntimeFamily) -> None:
    assert {"int8-channel", "int4-g32", "fp16"} <= family.schemes <= set(SCHEMES), "what recipes give"
    assert {name for name, scheme in SCHEMES.items() if family.carries(scheme)} == family.schemes
    assert family.other_schemes in family.limits_of_schemes
    assert not re.search(r"[A-Z.]$", family.limits_of_schemes), "it stands inside a sentence"


@FAMILY
def test_every_way_of_running_a_format_has_its_limits(family: RuntimeFamily) -> None:
    assert family.drivers
    for driver in family.drivers:
        assert 0 < driver.lowering_limit <= 1e-3
        assert 0 < driver.hand_over_limit <= 1e-2
    arithmetics = [driver.arithmetic for driver in family.drivers]
    assert len(set(arithmetics)) == len(arithmetics)
    assert arithmetics[0] == "fp32", "the most exact first"


@FAMILY
def test_nothing_is_longer_than_the_context(family: RuntimeFamily) -> None:
    spec = published_spec("gemma-3-1b")
    slots = {family.cache_slots(spec, layer, 256, CHUNK) for layer in spec.cache_layers}
    assert slots == {256}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_can_be_run_from_what_is_said_of_it(format: Format) -> None:
    text = facts_of(format).how_to_run(
        Artifact("text", format, "some/model.bin", 2048, 262144, 128, "last"), Prompting("<bos>", chat=True)
    )
    assert "some/model.bin" in text or '"some' in text
    assert text.count("```") == 2


@pytest.mark.parametrize("format", MULTIMODAL_SESSIONS)
def test_of_every_format_that_takes_pictures_it_is_said_what_its_own_tools_were_not_asked(
    format: Format,
) -> None:
    said = facts_of(format).asked_by_tools
    if any(path.answering is not None for path in paths_of(format)):
        assert said is None, "a validation asks them"
        return
    assert said is not None
    assert all(said(blocks).endswith(".") for blocks in get_args(BlockLayers))


@FAMILY
def test_what_the_doctor_looks_for_takes_part_in_some_format(family: RuntimeFamily) -> None:
    recorded = {name for facts in family.files for name in facts.packages}
    assert {part.package for part in family.packages} <= recorded
    assert all(part.purpose.startswith(f"{family.title}: ") for part in family.packages)


@FAMILY
def test_an_opened_artifact_holds_its_weights_and_its_cache_at_least_once(family: RuntimeFamily) -> None:
    model = family.memory
    assert model.weight_copies >= 1
    assert model.cache_copies >= 1
    assert GIB // 2 < model.lowering < 2 * GIB


def test_paths_that_were_not_asked_for_say_so_and_are_named() -> None:
    paths = paths_not_asked_for("litertlm")
    assert [path.name for path in paths] == [path.name for path in paths_of("litertlm")]
    assert {path.missing() for path in paths} == {"--no-accelerators was given"}


def test_every_path_has_a_name_of_its_own_and_says_what_it_shows_nothing_of() -> None:
    paths = [path for family in FAMILIES.values() for path in family.paths]
    assert len({path.name for path in paths}) == len({path.title for path in paths}) == len(paths) > 1
    assert all(path.says_nothing_of and path.mean_kl_limit > 0 and path.seconds > 0 for path in paths)
    assert all(bool(path.refused) == bool(path.why_refused) for path in paths)
