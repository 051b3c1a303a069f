"""Several devices of one target: which of them a reason is about, and what each would get by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

from exporter.cli import main
from exporter.errors import PlanError
from exporter.planning.candidates import AskedFor
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.planner import Planner, TargetPlan
from exporter.planning.profiles import Target, load_target
from exporter.planning.recipe import load_recipe
from exporter.planning.releases import PlannedReleases, plan_releases, require_releases
from exporter.planning.served_together import named
from tests.unit.exporter.planning.test_planner import GB, device, model


def target_of(*profiles: DeviceProfile) -> Target:
    return Target("phones", profiles)


def planned(*profiles: DeviceProfile, asked: AskedFor | None = None) -> TargetPlan:
    return Planner(model()).plan(target_of(*profiles), asked or AskedFor())


def released(*profiles: DeviceProfile) -> PlannedReleases:
    return plan_releases(model(), [target_of(*profiles)], AskedFor())


SMALL, LARGE = device("android-6gb"), device("android-8gb", 6 * GB)


def test_a_reason_says_which_of_several_devices_it_is_about() -> None:
    found = planned(SMALL, LARGE)
    assert [each.recipe for each in found.rejected] == ["int8", "int4", "int8"]
    for each in found.rejected:
        assert each.devices == ("android-6gb",)
        assert all(clause.startswith("for android-6gb: litertlm on the CPU takes") for clause in each.why)
    alone = planned(SMALL)
    assert all("for android-6gb" not in clause for each in alone.rejected for clause in each.why)


def test_clauses_of_several_devices_are_said_once_with_whose_they_are() -> None:
    pair = target_of(SMALL, LARGE)
    found = {"android-6gb": ("a", "b", "c"), "android-8gb": ("a",)}
    assert named(pair, found) == (
        "for android-6gb and android-8gb: a",
        "for android-6gb: b",
        "for android-6gb: c",
    )
    assert named(target_of(SMALL), {"android-6gb": ("a", "b")}) == ("a", "b")


def test_a_device_that_would_get_more_alone_says_so_and_which_device_is_why() -> None:
    (release,) = released(SMALL, LARGE).releases
    small, large = release.verdicts
    assert large.reason.endswith(
        "Alone (--profile android-8gb) it would get int8 at 2,048: one recipe and context serve the whole "
        "target phones, and int8 at 2,048 is ruled out by android-6gb."
    )
    assert "Alone" not in small.reason, "it gets what it would get anyway"


def test_a_device_whose_context_is_shorter_is_why_another_s_is() -> None:
    wide = replace(LARGE, context=4096)
    (release,) = released(replace(LARGE, name="short"), wide).releases
    short, long = release.verdicts
    assert "Alone" not in short.reason
    assert long.reason.endswith(
        "it would get int8 at 4,096: one recipe and context serve the whole target phones, and no more "
        "positions are asked for by short."
    )


def test_a_recipe_that_one_of_them_does_not_have_is_its_doing() -> None:
    own = replace(LARGE, name="own", recipes=("int4",))
    (release,) = released(LARGE, own).releases
    assert release.verdicts[0].reason.endswith("and int8 is no recipe of own.")


def test_a_fidelity_that_only_one_asks_for_is_missed_for_that_one() -> None:
    strict = replace(SMALL, name="strict", gates=replace(SMALL.gates, fidelity="near-lossless"))
    found = planned(strict, LARGE)
    missed = {name for each in found.rejected if each.recipe == "int4" for name in each.devices}
    assert missed == {"strict"}


def test_a_device_that_another_keeps_from_being_served_says_which() -> None:
    tiny = device("android-6gb", GB)
    found = released(tiny, LARGE)
    assert found.releases == ()
    small, large = found.left_out
    assert small.reason.startswith("Nothing fits: litertlm on the CPU takes")
    assert large.reason == (
        "Nothing is made: one recipe and context serve the whole target phones, and nothing fits "
        "android-6gb. Alone (--profile android-8gb) it would get int8 at 2,048."
    )
    with pytest.raises(PlanError) as caught:
        require_releases(found)
    assert str(caught.value).count("Nothing would fit") == 1, "of the whole target, once"


def test_a_recipe_and_a_context_asked_for_are_nobody_s_doing() -> None:
    asked = AskedFor(load_recipe("int4"), 512)
    found = plan_releases(model(), [load_target("all")], asked)
    assert [v.profile for each in found.releases for v in each.verdicts if "Alone" in v.reason] == []


def test_a_plan_of_a_target_says_once_what_was_rejected_and_for_which_device() -> None:
    result = CliRunner().invoke(main, ("plan", "--model", "2b", "--target", "all"))
    assert result.exit_code == 0
    said = "target all: one recipe and context serve its 5 devices, the best that fit them all; --profile "
    assert said in result.output
    assert result.output.count("not int8 at 2,048: for default-android: litertlm on the CPU takes") == 1
    assert "ruled out by default-android and default-web" in result.output
