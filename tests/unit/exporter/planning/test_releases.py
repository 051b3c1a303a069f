"""Several devices: a release for each variant that differs, its name, and a row for who gets none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.errors import PlanError
from exporter.planning.candidates import AskedFor
from exporter.planning.profiles import Target, load_device, load_target
from exporter.planning.published_model import published_model
from exporter.planning.recipe import load_recipe
from exporter.planning.releases import (
    PlannedReleases,
    devices_in_short,
    plan_releases,
    require_releases,
)
from tests.unit.exporter.planning.test_planner import GB, device, model


def planned(*names: str, of: str = "gemma-2-2b", **asked: object) -> PlannedReleases:
    anyway = bool(asked.pop("anyway", False))
    wanted = AskedFor(**asked)  # type: ignore[arg-type]  # what a test says of it
    return plan_releases(model(of), [load_device(name) for name in names], wanted, anyway)


def test_devices_that_come_to_the_same_share_a_release() -> None:
    found = planned("pixel-9", "macbook-m3-pro", "galaxy-s25", "macbook-m2-pro")
    assert [(each.label, [v.profile for v in each.verdicts]) for each in found.releases] == [
        ("int8-2048", ["pixel-9", "galaxy-s25"]),
        ("int8-4096", ["macbook-m3-pro", "macbook-m2-pro"]),
    ]
    assert found.releases[0].plan.variant.name == "pixel-9+galaxy-s25"
    assert found.left_out == ()


def test_names_grow_until_they_tell_releases_apart() -> None:
    assert [each.label for each in planned("pixel-8").releases] == ["int8"]
    assert [each.label for each in planned("pixel-8", "android-6gb").releases] == ["int8", "int4"]
    same_length = planned("macbook-m1", "jetson-orin-nano")
    assert [each.label for each in same_length.releases] == ["int8-4096-onnx+coreml", "int8-4096-litertlm"]


def test_only_names_that_are_alike_grow() -> None:
    found = planned("pixel-8", "android-6gb", "macbook-m1", "jetson-orin-nano")
    names = ["int8-1024", "int4", "int8-4096-onnx+coreml", "int8-4096-litertlm"]
    assert [each.label for each in found.releases] == names


def test_a_recipe_of_one_s_own_is_in_a_name_as_every_system_takes_it() -> None:
    own = replace(load_recipe("int8"), name="my récipe: 8/8")
    assert [each.label for each in planned("pixel-8", recipe=own).releases] == ["my-recipe-8-8"]
    alike = replace(load_recipe("int4-zp"), name="INT4")
    found = planned("pixel-9", recipe=alike, of="gemma-3-270m")
    labels = [each.label.lower() for each in found.releases]
    assert len(labels) > 1
    assert len(set(labels)) == len(labels), "INT4 and the int4 it names instead are one on some systems"


def test_names_of_many_devices_are_not_those_of_directories() -> None:
    assert devices_in_short("a+b+c") == "a+b+c"
    assert devices_in_short("a+b+c+d") == "a+3-others"


def test_schemes_that_differ_with_the_accelerator_are_other_releases() -> None:
    found = planned("pixel-9", "android-8gb", of="gemma-3-270m", recipe=load_recipe("int4"))
    schemes = [set(each.plan.scheme_counts()) for each in found.releases]
    assert schemes == [{"int8-channel", "int4-channel"}, {"int8-channel", "int4-g32"}]
    assert len({each.label for each in found.releases}) == 2


def test_a_device_on_which_nothing_fits_is_a_row_that_says_so() -> None:
    found = planned("iphone-13-pro", "macbook-m4-pro", of="gemma-2-9b")
    assert [v.profile for each in found.releases for v in each.verdicts] == ["macbook-m4-pro"]
    (row,) = found.left_out
    assert (row.profile, row.fit) == ("iphone-13-pro", "does not fit")
    assert row.reason.startswith(
        "Nothing would fit, not even the smallest there is, mixed:4625MB with a context of"
    )
    assert row.reason.count("coreml on the NPU takes") == 1, "the cause is said once"
    assert row.artifacts


def test_nothing_at_all_is_refused_with_what_is_nearest_unless_it_is_wanted_anyway() -> None:
    refused = planned("iphone-13-pro", "pixel-8", of="gemma-2-9b")
    with pytest.raises(
        PlanError, match=r"iphone-13-pro, pixel-8: .*the smallest there is, mixed:.*--anyway"
    ):
        require_releases(refused)
    anyway = planned("iphone-13-pro", "pixel-8", of="gemma-2-9b", anyway=True)
    require_releases(anyway)
    assert anyway.left_out == ()
    assert {v.fit for each in anyway.releases for v in each.verdicts} == {"does not fit"}


def test_a_refusal_says_what_can_be_asked_for_and_what_comes_of_it() -> None:
    profile = device("android-8gb", int(2.95 * GB))
    target = Target(profile.name, (profile,))
    refused = plan_releases(model(), [target], AskedFor())
    (row,) = refused.left_out
    assert row.reason.startswith("Nothing fits: litertlm on the CPU takes 3,090 MB, and an app may use 2,9")
    assert row.reason.endswith("--recipe int4 --context 256 makes it.")
    assert row.reason.count("may") == row.reason.count("may use") + 1, "said once: which may not"
    with pytest.raises(PlanError) as caught:
        require_releases(refused)
    assert caught.value.then == "ask for that, name another device, or export it with --anyway"
    asked = plan_releases(model(), [target], AskedFor(load_recipe("int4"), 256))
    require_releases(asked)
    assert [verdict.fit for each in asked.releases for verdict in each.verdicts] == ["may not fit"]


def test_a_verdict_says_what_decided_and_what_else_to_know() -> None:
    (release,) = planned("iphone-15-pro", of="gemma-2-2b").releases
    (verdict,) = release.verdicts
    assert verdict.fit == "fits with entitlement"
    assert verdict.reason.endswith(
        "3,293 MB at the peak of the 6,000 MB an app may use (phys_footprint, estimate), 3,787 MB with "
        "15 % kept free, as no such peak was measured."
    )
    assert verdict.sourced


def test_what_its_gpu_cannot_take_is_said_by_the_verdict_itself() -> None:
    (web,) = planned("default-web", of="gemma-3-270m").releases
    (verdict,) = web.verdicts
    (artifact,) = verdict.artifacts
    assert (verdict.fit, verdict.word) == ("fits", "fits by WebAssembly, not on its GPU")
    assert (artifact.accelerator, artifact.where) == ("CPU", "onnx-web by WebAssembly")
    assert verdict.reason.startswith("onnx-web by WebAssembly fits: 559 MB at the peak of the 4,295 MB")
    assert (
        "Not on its GPU: model.embed_tokens.weight takes 168 MB, and a buffer of its GPU "
        "134 MB at most (sourced: " in verdict.reason
    )
    (small,) = planned("default-web", of="gemma-3-270m", recipe=load_recipe("int4-fast")).releases
    assert small.verdicts[0].word.startswith("fits by WebAssembly, not on its GPU, below the fidelity")


def test_what_was_asked_for_and_fits_by_prediction_alone_may_not_fit() -> None:
    (release,) = planned("android-8gb", recipe=load_recipe("int8"), context=2048).releases
    (verdict,) = release.verdicts
    assert verdict.fit == verdict.word == "may not fit"
    assert verdict.reason.startswith(
        "litertlm on the CPU may not fit: 4,289 MB at the peak of the 4,295 MB an app may use (ru_maxrss, "
        "estimate), 4,500 MB with the 4.9 % that a peak was above its prediction at most."
    )


def test_a_format_that_was_left_out_for_want_of_room_is_named() -> None:
    (release,) = planned("pixel-8", of="gemma-4-e2b").releases
    assert release.plan.variant.formats == ("litertlm",)
    assert "Without onnx: onnx on the CPU takes" in release.verdicts[0].reason
    (whole,) = planned("pixel-8", of="gemma-3-270m").releases
    assert "Without" not in whole.verdicts[0].reason


def test_a_format_that_another_release_of_the_plan_has_is_not_missed() -> None:
    found = planned("iphone-16", of="gemma-2-2b")
    assert {each.plan.variant.formats: each.plan.variant.recipe.name for each in found.releases} == {
        ("coreml",): "int4-zp",
        ("litertlm",): "int4",
    }
    assert not [v.reason for each in found.releases for v in each.verdicts if "Without" in v.reason]


def test_a_format_that_is_left_out_is_judged_by_the_recipe_it_would_have_got() -> None:
    profile = replace(device("android-8gb"), recipes=("int4-zp",))
    gates = replace(profile.gates, formats=("onnx",), artifact_bytes=250_000_000)
    found = plan_releases(
        model("gemma-3-270m"), [Target("x", (replace(profile, gates=gates),))], AskedFor(context=1024)
    )
    (release,) = found.releases
    assert release.plan.variant.formats == ("onnx",)
    assert "Without litertlm: litertlm takes 263 MB on disk, and 250 MB are allowed." in (
        release.verdicts[0].reason
    ), "in int4, not in int4-zp"


def test_formats_that_were_not_asked_for_are_not_explained() -> None:
    for formats in (("onnx",), ("litertlm",), ("tflite", "onnx")):
        found = planned("pixel-8", of="gemma-4-e2b", formats=formats, recipe=load_recipe("int4"))
        for release in found.releases:
            assert [v.reason for v in release.verdicts if "Without" in v.reason] == []


def test_a_recipe_below_the_class_says_so_where_it_was_asked_for() -> None:
    (release,) = planned("android-8gb", of="gemma-3-270m", recipe=load_recipe("int4-fast")).releases
    (verdict,) = release.verdicts
    below = "int4-fast is rough, and the profile asks for calibrated or better"
    assert (verdict.fit, verdict.below_fidelity) == ("fits", below)
    assert verdict.word == "fits, below the fidelity asked for"
    assert f"Below the fidelity asked for: {below}." in verdict.reason


def test_a_recipe_that_an_accelerator_takes_something_from_says_so_where_it_was_asked_for() -> None:
    (release,) = planned("pixel-8", of="gemma-3-270m", recipe=load_recipe("int4")).releases
    assert release.verdicts[0].word == "fits, below the fidelity asked for"
    assert "share one scale a row" in str(release.verdicts[0].below_fidelity)
    (whole,) = planned("pixel-8", of="gemma-3-270m").releases
    assert whole.verdicts[0].word == "fits"


def test_a_target_s_devices_are_all_judged() -> None:
    found = plan_releases(model("gemma-3-270m"), [load_target("all")], AskedFor())
    (release,) = found.releases
    assert release.label == "int8"
    assert [v.profile for v in release.verdicts] == [each.name for each in load_target("all").profiles]
    assert release.plan.variant.name == "all"


def test_a_cache_has_one_size_and_copies_of_it_another_name() -> None:
    planned_for_all = plan_releases(model("gemma-2-2b"), [load_target("all")], AskedFor(), anyway=True)
    artifacts = [a for r in planned_for_all.releases for v in r.verdicts for a in v.artifacts]
    assert {each.format for each in artifacts} == {"litertlm", "onnx", "onnx-web", "coreml"}
    assert all(each.memory["KV cache"] == each.cache_bytes for each in artifacts)
    (web,) = (each for each in artifacts if each.format == "onnx-web")
    assert web.memory["KV cache (while it grows)"] == 2 * web.cache_bytes


@pytest.mark.parametrize(
    ("of", "asked", "where", "what"),
    [
        (
            "gemma-3-4b",
            {"formats": ("tflite",), "image_tokens": 256},
            "--image-tokens 256",
            "tflite takes no images of gemma-3-4b",
        ),
        (
            "gemma-3-4b",
            {"formats": ("tflite",), "components": ("text", "vision")},
            "--components text,vision",
            "tflite takes no images of gemma-3-4b",
        ),
        (
            "gemma-4-e2b",
            {"formats": ("tflite",), "components": ("text", "audio")},
            "--components text,audio",
            "tflite takes no sounds of gemma-4-e2b",
        ),
        (
            "gemma-4-12b",
            {"formats": ("tflite", "onnx-web"), "components": ("text", "vision")},
            "--components text,vision",
            "tflite, onnx-web takes no images of gemma-4-12b",
        ),
    ],
)
def test_what_none_of_the_formats_takes_is_refused_where_it_was_asked_for(
    of: str, asked: dict[str, object], where: str, what: str
) -> None:
    of_published = published_model(of, None, None)
    assert of_published is not None
    target = [load_target("desktop")]
    with pytest.raises(PlanError, match=what) as caught:
        plan_releases(of_published, target, AskedFor(**asked))  # type: ignore[arg-type]
    assert caught.value.where == where
    assert "--format" in caught.value.then
    nothing_asked = {"formats": asked["formats"]}
    plan_releases(of_published, target, AskedFor(**nothing_asked))  # type: ignore[arg-type]
    beside_another = {**asked, "formats": ("tflite", "onnx")}
    plan_releases(of_published, target, AskedFor(**beside_another))  # type: ignore[arg-type]


def test_a_fidelity_that_none_of_a_profile_s_recipes_has_names_the_one_that_has_it() -> None:
    phone = device("pixel-8")
    phone = replace(phone, gates=replace(phone.gates, fidelity="exact"))
    target = Target(phone.name, (phone,))
    found = plan_releases(model("gemma-3-1b"), [target], AskedFor())
    (row,) = found.left_out
    assert row.reason.startswith("None of its recipes that fits is as faithful as asked for: int8 is ")
    assert "would fit is float with a context of 2,048; --recipe float --context 2048 makes" in row.reason
    asked = plan_releases(model("gemma-3-1b"), [target], AskedFor(load_recipe("float"), 2048))
    assert [each.word for release in asked.releases for each in release.verdicts] == ["fits"]
