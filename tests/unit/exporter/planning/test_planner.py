"""The planner: the best recipe that fits, why no better one, and what is nearest where nothing does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.errors import PlanError
from exporter.models.components import text_alone
from exporter.models.published import published_spec
from exporter.planning.candidates import AskedFor, accelerators_of
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.fidelity import FidelityClass
from exporter.planning.judging import judge
from exporter.planning.on_device import WrittenSizes
from exporter.planning.planned_model import PlannedModel
from exporter.planning.planner import Planner, TargetPlan
from exporter.planning.profiles import Target, load_profile, load_target
from exporter.planning.recipe import load_recipe
from exporter.planning.trials import TEXT_BYTES

GB = 10**9


def model(name: str = "gemma-2-2b") -> PlannedModel:
    return PlannedModel(name, text_alone(published_spec(name)), {})


def device(name: str, app: int | None = None) -> DeviceProfile:
    """A shipped profile, with so much memory for an app."""
    profile = load_profile(name)
    if app is None:
        return profile
    fact = replace(profile.memory.app, bytes=app)
    return replace(profile, memory=replace(profile.memory, app=fact, app_with_entitlement=None))


def planned(profile: DeviceProfile, asked: AskedFor | None = None, of: str = "gemma-2-2b") -> TargetPlan:
    return Planner(model(of)).plan(Target(profile.name, (profile,)), asked or AskedFor())


def recipe_of(found: TargetPlan) -> tuple[str, int]:
    (plan,) = found.plans
    return plan.variant.recipe.name, plan.variant.context


@pytest.mark.parametrize(
    ("app", "recipe", "context", "rejected"),
    [
        (6 * GB, "int8", 2048, []),
        (int(4.2 * GB), "int4", 2048, ["int8"]),
        (int(3.2 * GB), "int4", 1024, ["int8", "int4", "int8"]),
    ],
)
def test_the_best_recipe_that_fits_is_chosen_and_every_better_one_has_a_reason(
    app: int, recipe: str, context: int, rejected: list[str]
) -> None:
    found = planned(device("android-8gb", app))
    assert recipe_of(found) == (recipe, context)
    assert [each.recipe for each in found.rejected] == rejected
    assert all("litertlm on the CPU takes" in each.why[0] for each in found.rejected)
    assert found.fits
    assert found.nearest is None


def test_where_nothing_fits_the_nearest_that_would_is_named_beyond_the_gates() -> None:
    found = planned(device("android-8gb", int(3.05 * GB)))
    assert not found.fits
    assert found.nearest is not None
    assert found.nearest.sentence == (
        "The nearest that would fit is int4 with a context of 256; --recipe int4 --context 256 makes it."
    )
    assert "android-8gb" in found.misses
    assert recipe_of(found) == ("int4", 1024), "what is made anyway"


def test_a_budget_below_any_recipe_says_by_how_much_the_smallest_misses_it() -> None:
    found = planned(device("android-8gb", GB))
    assert found.nearest is not None
    said = found.nearest.sentence
    smallest = "the smallest there is, mixed:1309MB with a context of 256: litertlm on the CPU takes "
    assert said.startswith(f"Nothing would fit, not even {smallest}")
    assert "and an app may use 1,000 MB" in said


@pytest.mark.parametrize("app", [2.80, 2.95, 3.05, 3.3])
@pytest.mark.parametrize(
    ("asked", "fidelity"),
    [
        (AskedFor(), "calibrated"),
        (AskedFor(formats=("litertlm",)), "near-lossless"),
        (AskedFor(load_recipe("int8")), "calibrated"),
    ],
)
def test_what_is_named_as_nearest_comes_out_as_it_was_said_when_it_is_asked_for(
    app: float, asked: AskedFor, fidelity: FidelityClass
) -> None:
    profile = device("android-8gb", int(app * GB))
    profile = replace(profile, gates=replace(profile.gates, fidelity=fidelity, context=2048))
    nearest = planned(profile, asked).nearest
    assert nearest is not None, "nothing within the gates fits any of these"
    words = nearest.asking.split()
    recipe = load_recipe(words[1]) if words[0] == "--recipe" else asked.recipe
    again = planned(profile, replace(asked, recipe=recipe, context=int(words[-1])))
    assert again.fits is not bool(nearest.misses)
    if again.fits:
        (plan,) = again.plans
        assert recipe_of(again) == (nearest.recipe.replace("mixed:", "mixed-"), nearest.context)
        sized = Planner(model()).sized(plan)
        verdict = judge(model().spec, sized, profile, WrittenSizes(TEXT_BYTES, {}))
        assert verdict is not None
        assert (verdict.fit == "may not fit") is bool(nearest.doubts)
        assert (verdict.below_fidelity is None) is not bool(nearest.below)
        assert ("which may not: " in nearest.sentence) is bool(nearest.doubts)


def test_what_may_fit_where_it_is_asked_for_is_no_reason_to_say_that_nothing_would() -> None:
    nearest = planned(device("android-8gb", int(2.95 * GB))).nearest
    assert nearest is not None
    assert nearest.sentence == (
        "Nothing is certain to fit; the nearest is int4 with a context of 256, which may not: litertlm on "
        "the CPU takes 2,877 MB, 3,018 MB with the 4.9 % that a peak was above its prediction at most, and "
        "an app may use 2,950 MB. --recipe int4 --context 256 makes it."
    )


def test_a_recipe_below_the_class_is_the_nearest_where_only_that_fits() -> None:
    profile = device("android-8gb", int(3.6 * GB))
    strict = replace(profile, gates=replace(profile.gates, fidelity="near-lossless"))
    nearest = planned(strict).nearest
    assert nearest is not None
    assert nearest.sentence == (
        "The nearest that would fit is int4 with a context of 2,048, below the fidelity asked for (int4 is "
        "calibrated, as it may cost 0.2 nats, and near-lossless or better is asked for); --recipe int4 "
        "--context 2048 makes it."
    )


@pytest.mark.parametrize("context", [100, 128, 300, 4096])
@pytest.mark.parametrize("app", [10**6, int(2.7 * GB)])
def test_the_nearest_never_has_more_context_than_was_asked_for(app: int, context: int) -> None:
    nearest = planned(device("android-8gb", app), AskedFor(context=context)).nearest
    assert nearest is None or nearest.context <= context
    assert app > 10**6 or nearest is not None


def test_the_nearest_is_of_the_recipe_that_was_asked_for_where_that_fits_somewhere() -> None:
    nearest = planned(
        device("android-8gb", int(3.25 * GB)), AskedFor(load_recipe("int4-fast"), 2048)
    ).nearest
    assert nearest is not None
    assert (nearest.recipe, nearest.context, nearest.misses) == ("int4-fast", 1024, ())


def test_a_budget_of_some_bytes_is_said_in_bytes() -> None:
    nearest = planned(device("android-8gb", 640)).nearest
    assert nearest is not None
    assert "may use 640 bytes" in nearest.sentence


def test_four_bits_are_not_made_by_row_for_a_gpu_in_silence() -> None:
    found = planned(device("pixel-8", int(3 * GB)))
    assert not found.fits
    reasons = [why for each in found.rejected for why in each.why if each.recipe == "int4"]
    assert (
        "4-bit weights share one scale a row and not one every 32, as the accelerator takes no "
        "groups, which loses more than int4 promises"
    ) in reasons


def test_a_profile_that_asks_for_more_than_a_recipe_promises_does_not_get_it() -> None:
    profile = device("android-8gb", int(4.2 * GB))
    strict = replace(profile, gates=replace(profile.gates, fidelity="near-lossless"))
    found = planned(strict)
    assert recipe_of(found) == ("int8", 1024)
    assert "int4 is calibrated, as it may cost 0.2 nats, and near-lossless or better is asked for" in [
        why for each in found.rejected for why in each.why
    ]


def test_a_recipe_that_was_asked_for_is_made_whatever_it_promises_and_still_has_to_fit() -> None:
    profile = device("android-8gb")
    strict = replace(profile, gates=replace(profile.gates, fidelity="exact"))
    asked = AskedFor(recipe=load_recipe("int4-fast"), context=512)
    assert recipe_of(planned(strict, asked)) == ("int4-fast", 512)
    assert not planned(device("android-8gb", GB), asked).fits


def test_a_profile_without_kernels_for_blocks_gets_none() -> None:
    profile = device("android-8gb", int(4.2 * GB))
    runtime = profile.runtimes["litertlm"]
    without = replace(runtime, blockwise=replace(runtime.blockwise, kernels=False))
    found = planned(replace(profile, runtimes={**profile.runtimes, "litertlm": without}))
    assert recipe_of(found) == ("int8", 1024)
    assert ("LiteRT has no kernels there for 4-bit weights in groups of 32",) in [
        each.why for each in found.rejected
    ]


def test_a_gate_on_the_file_counts_too() -> None:
    profile = device("rtx-3060-12gb")
    small = replace(profile, gates=replace(profile.gates, artifact_bytes=2 * GB))
    found = planned(small)
    assert recipe_of(found) == ("int4-zp", 4096)
    assert found.rejected[0].why == ("onnx takes 2,671 MB on disk, and 2,000 MB are allowed",)


@pytest.mark.parametrize("app", [int(3.1 * GB), 4_505_000_000])
def test_a_format_no_device_requires_is_left_out_where_it_does_not_fit_or_may_not(app: int) -> None:
    found = planned(device("android-8gb", app))
    assert [plan.variant.formats for plan in found.plans] == [("litertlm",)]
    both = planned(device("android-8gb", 6 * GB))
    assert both.plans[0].variant.formats == ("litertlm", "onnx")


def test_what_fits_by_prediction_alone_is_passed_over_for_what_fits_with_its_error() -> None:
    found = planned(device("android-8gb"))
    assert recipe_of(found) == ("int4", 2048)
    (better,) = found.rejected
    assert (better.recipe, better.context) == ("int8", 2048)
    assert better.why == (
        "litertlm on the CPU takes 4,289 MB, 4,500 MB with the 4.9 % that a peak was above its prediction "
        "at most, and an app may use 4,295 MB",
    )


def test_where_all_that_fits_may_not_the_one_with_most_room_is_made() -> None:
    profile = device("android-8gb", int(3.1 * GB))
    found = planned(profile)
    assert found.fits
    assert recipe_of(found) == ("int4", 1024), "3,090 MB of 3,100"
    assert [each.recipe for each in found.rejected] == ["int8", "int4", "int8"]
    strict = replace(profile, gates=replace(profile.gates, fidelity="near-lossless", context=256))
    tight = planned(replace(strict, memory=device("android-8gb", int(4.05 * GB)).memory))
    assert recipe_of(tight) == ("int8", 256), "it fits for certain"


def test_a_file_that_a_browser_does_not_read_whole_is_told_at_plan_time_with_what_fits() -> None:
    found = planned(load_profile("default-web"))
    assert recipe_of(found) == ("int4-zp", 2048)
    (better,) = found.rejected
    (why,) = better.why
    assert better.recipe == "int8"
    assert why.startswith(
        "the data file of onnx-web takes 2,668 MB, and a file that is read there 2,145 MB "
    )
    asked = planned(load_profile("default-web"), AskedFor(load_recipe("int8")))
    assert asked.nearest is not None
    assert asked.nearest.sentence == (
        "The nearest that would fit is int4-zp with a context of 2,048; "
        "--recipe int4-zp --context 2048 makes it."
    )
    free = planned(replace(load_profile("default-web"), largest_file=None), AskedFor(load_recipe("int8")))
    assert free.fits, "but for its file"


@pytest.mark.parametrize(("budget", "stored"), [("1.6GB", 1.6e9), ("2.2GB", 2.2e9), ("8", 2.614e9)])
def test_a_recipe_with_a_budget_is_judged_by_all_of_it(budget: str, stored: float) -> None:
    planner, profile = Planner(model()), device("android-8gb")
    found = planner.plan(Target(profile.name, (profile,)), AskedFor(load_recipe(f"mixed:{budget}")))
    (plan,) = found.plans
    spec, sized = planner.model.spec, planner.sized(plan)
    verdict = judge(spec, sized, profile, WrittenSizes(TEXT_BYTES, {}))
    assert verdict is not None
    taken = verdict.artifacts[0].artifact_bytes
    assert stored < taken < 1.05 * stored, "beside the matrices are tables, vectors and a tokenizer"


def test_a_gpu_that_cannot_take_a_matrix_at_once_gets_a_recipe_that_it_can() -> None:
    profile = device("galaxy-s25")
    assert profile.largest_buffer is not None
    small = replace(profile, largest_buffer=replace(profile.largest_buffer, bytes=600_000_000))
    assert recipe_of(planned(small)) == ("int8", 2048), "the head takes 590 MB"
    smaller = replace(profile, largest_buffer=replace(profile.largest_buffer, bytes=500_000_000))
    found = planned(smaller)
    assert not found.fits
    assert any(
        "model.embed_tokens.weight takes 590 MB, and a buffer of its GPU 500 MB" in why
        for each in found.rejected
        for why in each.why
    )


def test_a_format_that_was_asked_for_is_made_for_who_requires_another() -> None:
    found = planned(device("android-8gb"), AskedFor(formats=("onnx",)))
    assert found.plans[0].variant.formats == ("onnx",)
    assert found.fits


def test_a_target_is_served_by_one_candidate_that_fits_all_its_devices() -> None:
    found = Planner(model("gemma-3-270m")).plan(load_target("all"), AskedFor())
    (plan,) = found.plans
    assert (plan.variant.recipe.name, plan.variant.context) == ("int8", 2048)
    assert plan.variant.formats == ("litertlm", "onnx", "onnx-web", "coreml")
    assert found.fits


def test_a_target_means_each_format_for_its_most_particular_accelerator() -> None:
    assert accelerators_of(load_target("android").profiles) == {"litertlm": "CPU", "onnx": "CPU"}
    assert accelerators_of((load_profile("pixel-9"),)) == {"litertlm": "GPU", "onnx": "CPU"}
    everything = accelerators_of(load_target("all").profiles)
    assert (everything["onnx"], everything["onnx-web"]) == ("CPU", "GPU")


def test_formats_that_cannot_carry_a_recipe_get_the_one_it_names() -> None:
    asked = AskedFor(recipe=load_recipe("int4-zp"), context=512)
    found = planned(device("android-8gb"), asked, of="gemma-3-270m")
    assert {plan.variant.recipe.name: plan.variant.formats for plan in found.plans} == {
        "int4-zp": ("onnx",),
        "int4": ("litertlm",),
    }


def test_a_budget_s_recipe_is_sized_by_its_budget() -> None:
    profile = device("raspberry-pi-5", int(1.1 * GB))
    assert planned(
        profile, AskedFor(recipe=load_recipe("mixed:220MB"), context=512), of="gemma-3-270m"
    ).fits
    tight = device("raspberry-pi-5", int(0.8 * GB))
    wide = planned(tight, AskedFor(recipe=load_recipe("int8"), context=512), of="gemma-3-270m")
    assert not wide.fits


def test_what_nothing_can_be_made_of_is_refused_as_the_plan_refuses_it() -> None:
    with pytest.raises(PlanError, match="choose a context from 1 to 8192"):
        planned(device("android-8gb"), AskedFor(context=10**6))


def test_a_model_of_fewer_positions_than_the_device_has_gets_them_all() -> None:
    short = replace(published_spec("gemma-3-270m"), context_length=600)
    found = Planner(PlannedModel("short", text_alone(short), {})).plan(load_target("desktop"), AskedFor())
    assert found.plans[0].variant.context == 600
