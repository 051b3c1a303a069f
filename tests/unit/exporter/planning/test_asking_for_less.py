"""What can be asked for where no recipe and context fits: less of a model, fewer soft tokens, a mix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.models.components import wanted_components
from exporter.planning.budget import MIXED, in_short, parse_budget, step_of
from exporter.planning.candidates import AskedFor
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.nearest_fit import NearestFit
from exporter.planning.planner import Planner
from exporter.planning.profiles import Target
from exporter.planning.published_model import published_model
from exporter.planning.recipe import load_recipe
from exporter.planning.releases import PlannedReleases, plan_releases
from tests.unit.exporter.planning.test_planner import GB, device


def nearest(model: str, profile: DeviceProfile, asked: AskedFor | None = None) -> NearestFit:
    known = published_model(model, None)
    assert known is not None
    found = Planner(known).plan(Target(profile.name, (profile,)), asked or AskedFor()).nearest
    assert found is not None
    return found


def asked_by(flags: str, model: str, profile: DeviceProfile, formats: AskedFor) -> PlannedReleases:
    """What comes of typing them."""
    words = flags.split(" without ")[0].split()
    said = dict(zip(words[::2], words[1::2], strict=True))
    known = published_model(model, None, wanted_components(said.pop("--components", None)))
    assert known is not None
    asked = AskedFor(
        recipe=load_recipe(said.pop("--recipe")) if "--recipe" in said else formats.recipe,
        context=int(said.pop("--context")),
        formats=formats.formats,
        image_tokens=int(said.pop("--image-tokens")) if "--image-tokens" in said else None,
    )
    assert not said
    return plan_releases(known, [Target(profile.name, (profile,))], asked)


@pytest.mark.parametrize(
    ("model", "app", "asking", "of"),
    [
        ("gemma-3-4b", 4.0, "--recipe int4 --context 256 --components text", "text alone"),
        ("gemma-3-4b", 3.3, "--recipe mixed:2143MB --context 256 --components text", "text alone"),
        ("gemma-2-2b", 2.8, "--recipe mixed:1559MB --context 1024", ""),
        (
            "gemma-4-e2b",
            3.0,
            "--recipe mixed:2989MB --context 256 --image-tokens 140",
            "images of at most 140 soft tokens",
        ),
        (
            "gemma-4-e2b",
            2.8,
            "--recipe mixed:2482MB --context 1024 --components text,vision",
            "without sounds",
        ),
    ],
)
def test_less_is_tried_before_nothing_would_fit_and_fits_as_it_was_said(
    model: str, app: float, asking: str, of: str
) -> None:
    profile = device("android-8gb", int(app * GB))
    found = nearest(model, profile)
    assert (found.asking, found.of, found.misses, found.doubts) == (asking, of, (), ())
    assert f"{asking} makes it." in found.sentence
    assert ("measured as it is made" in found.sentence) is (MIXED in asking)
    (release,) = asked_by(asking, model, profile, AskedFor()).releases
    (verdict,) = release.verdicts
    assert verdict.fit == "fits"


def test_a_mix_has_the_largest_budget_that_fits() -> None:
    profile = device("android-8gb", int(2.8 * GB))
    found = nearest("gemma-2-2b", profile)
    budget = parse_budget(found.recipe).bytes
    assert budget is not None
    more = found.asking.replace(found.recipe, f"{MIXED}{in_short(budget + step_of(budget))}")
    asked = asked_by(more, "gemma-2-2b", profile, AskedFor())
    assert [v.fit for each in asked.releases for v in each.verdicts] != ["fits"]


def test_fewer_components_may_not_fit_where_more_do_as_a_browser_s_files_are_others() -> None:
    found = nearest("gemma-4-e2b", device("default-web"))
    assert found.of == "", "the text alone is one file, beyond what a page reads"
    assert found.recipe.startswith(MIXED)
    assert not found.misses


def test_nothing_would_fit_is_said_of_the_least_of_all() -> None:
    found = nearest("gemma-4-e2b", device("android-8gb", GB))
    smallest = f"{found.recipe} with a context of 256, text alone: "
    assert found.sentence.startswith(f"Nothing would fit, not even the smallest there is, {smallest}")
    assert found.misses


def test_a_flag_that_goes_with_no_component_left_is_to_be_left_out() -> None:
    found = nearest("gemma-3-4b", device("android-8gb", 4 * GB), AskedFor(image_tokens=256))
    assert found.asking.endswith("--components text without --image-tokens")


def test_a_mix_that_was_asked_for_and_is_too_large_gets_a_smaller_one() -> None:
    asked = AskedFor(load_recipe("mixed:2.5GB"), 1024)
    found = nearest("gemma-2-2b", device("android-8gb", int(2.8 * GB)), asked)
    assert found.recipe == "mixed:1559MB"


def test_a_fidelity_below_the_one_asked_for_is_named_before_less_of_the_model() -> None:
    profile = device("android-8gb", int(4.9 * GB))
    strict = replace(profile, gates=replace(profile.gates, fidelity="exact"))
    found = nearest("gemma-4-e2b", strict)
    assert (found.of, bool(found.below)) == ("", True)


@pytest.mark.parametrize("count", [1, 99, 100, 1234, 99_999, 1_308_973_056, 45_300_001, 2_788_586_752])
def test_a_budget_in_short_is_read_again_and_no_smaller_and_a_hundredth_larger_at_most(count: int) -> None:
    text = in_short(count)
    read = parse_budget(f"{MIXED}{text}").bytes
    assert read is not None
    assert count <= read <= max(count + 1, 1.01 * count)
    assert len(text) <= 8
