"""Which of several formats decides for a device, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.planning.candidates import AskedFor
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.judging import judge, of_worst_format
from exporter.planning.on_device import WrittenSizes
from exporter.planning.planner import Planner
from exporter.planning.profiles import Target, load_profile
from exporter.planning.recipe import load_recipe
from exporter.planning.releases import plan_releases
from exporter.planning.trials import TEXT_BYTES
from runtimes.formats import Format
from tests.unit.exporter.planning.test_planner import GB, device, model

INT8 = AskedFor(recipe=load_recipe("int8"), context=1024, formats=("litertlm", "onnx"))


def requiring(profile: DeviceProfile, *formats: Format) -> DeviceProfile:
    return replace(profile, gates=replace(profile.gates, formats=formats))


def verdict_on(profile: DeviceProfile, written: dict[Format, int] | None = None) -> DeviceVerdict:
    """Of Gemma 2 2B in int8 at 1,024: litertlm 4,012 MB, 4,209 with the error; onnx 3,921 and 4,274."""
    (plan,) = Planner(model()).plan(Target(profile.name, (profile,)), INT8).plans
    found = judge(model().spec, plan, profile, WrittenSizes(TEXT_BYTES, written or {}))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("app", "fit", "decides"),
    [
        (6.0, "fits", "onnx"),
        (4.23, "may not fit", "onnx"),
        (3.95, "does not fit", "litertlm"),
        (1.0, "does not fit", "onnx"),
    ],
)
def test_of_formats_that_are_all_required_the_worst_decides_in_either_order(
    app: float, fit: str, decides: str
) -> None:
    for formats in (("litertlm", "onnx"), ("onnx", "litertlm")):
        found = verdict_on(requiring(device("android-8gb", int(app * GB)), *formats))
        assert (found.fit, found.artifacts[0].format) == (fit, decides)
        assert found.reason.startswith(f"{decides} ")
        assert "litertlm and onnx are required, so the worse of them decides." in found.reason
        assert ("litertlm does not fit either: " in found.reason) is (app == 1.0)


def test_of_three_the_worst_decides() -> None:
    profile = device("android-8gb", 6 * GB)
    runtimes = {**profile.runtimes, "coreml": load_profile("macbook-m1").runtimes["coreml"]}
    all_three = requiring(replace(profile, runtimes=runtimes), "litertlm", "onnx", "coreml")
    asked = replace(INT8, formats=("litertlm", "onnx", "coreml"))
    (plan,) = Planner(model()).plan(Target(profile.name, (all_three,)), asked).plans
    found = judge(model().spec, plan, all_three, WrittenSizes(TEXT_BYTES, {}))
    assert found is not None
    assert "litertlm, onnx and coreml are required, so the worst of them decides." in found.reason


def test_a_format_that_is_required_alone_decides_whatever_the_other_needs() -> None:
    profile = device("android-8gb", int(4.23 * GB))
    small, large = (verdict_on(requiring(profile, each)) for each in ("litertlm", "onnx"))
    assert (small.fit, small.artifacts[0].format) == ("fits", "litertlm")
    assert (large.fit, large.artifacts[0].format) == ("may not fit", "onnx")
    assert "required" not in small.reason + large.reason


def test_where_none_of_the_required_formats_is_made_the_best_decides() -> None:
    found = verdict_on(requiring(device("android-8gb", int(4.23 * GB)), "coreml"))
    assert (found.fit, found.artifacts[0].format) == ("fits", "litertlm")


def test_a_written_file_beyond_the_gate_decides_though_it_is_the_smaller_in_memory() -> None:
    profile = requiring(device("android-8gb", 6 * GB), "litertlm", "onnx")
    gated = replace(profile, gates=replace(profile.gates, artifact_bytes=3 * GB))
    assert verdict_on(gated).fit == "fits"
    written = verdict_on(gated, {"litertlm": 4 * GB, "onnx": 2 * GB})
    assert (written.fit, written.artifacts[0].format) == ("does not fit", "litertlm")


def test_of_two_releases_for_one_device_the_one_with_the_worse_required_format_is_its_row() -> None:
    profile = requiring(device("android-8gb", int(2.45 * GB)), "litertlm", "onnx")
    asked = AskedFor(recipe=load_recipe("int4-zp"), context=512, formats=("litertlm", "onnx"))
    found = plan_releases(model(), [Target(profile.name, (profile,))], asked, anyway=True)
    verdicts = [verdict for each in found.releases for verdict in each.verdicts]
    assert len(verdicts) == 2, "int4-zp for ONNX, int4 for LiteRT"
    worst = of_worst_format(verdicts, profile)
    assert worst.artifacts[0].format == "onnx"
    alone = requiring(profile, "litertlm")
    assert of_worst_format(verdicts, alone).artifacts[0].format == "litertlm"
    (row,) = plan_releases(model(), [Target(profile.name, (profile,))], asked).left_out
    assert row.artifacts[0].format == "onnx"


def test_of_two_releases_that_fit_the_one_below_the_fidelity_asked_for_is_the_row() -> None:
    profile = requiring(device("android-8gb", 6 * GB), "litertlm", "onnx")
    strict = replace(profile, gates=replace(profile.gates, fidelity="near-lossless"))
    asked = AskedFor(recipe=load_recipe("int4-zp"), context=512, formats=("litertlm", "onnx"))
    found = plan_releases(model(), [Target(strict.name, (strict,))], asked, anyway=True)
    verdicts = [verdict for each in found.releases for verdict in each.verdicts]
    assert {each.fit for each in verdicts} == {"fits"}
    met = [replace(each, below_fidelity=None) if n == 0 else each for n, each in enumerate(verdicts)]
    for order in (met, met[::-1]):
        assert of_worst_format(order, strict).below_fidelity is not None


@pytest.mark.parametrize("beyond", [-1, 1])
def test_a_verdict_has_one_unit_for_what_is_taken_and_what_there_is(beyond: int) -> None:
    peak = verdict_on(device("android-8gb")).artifacts[0].peak_bytes
    said = verdict_on(device("android-8gb", peak + beyond)).reason
    assert f"{peak:,} bytes" in said or f"{peak + beyond:,} bytes" in said
    assert " MB" not in said


def test_after_an_export_each_file_that_was_written_is_held_against_what_a_browser_reads() -> None:
    profile = load_profile("default-web")
    assert profile.largest_file is not None
    small = model("gemma-3-270m")
    (plan,) = Planner(small).plan(Target(profile.name, (profile,)), AskedFor()).plans
    most = profile.largest_file.bytes
    for size, fit in ((most, "fits"), (most + 1, "does not fit")):
        files: dict[Format, dict[str, int]] = {
            "onnx-web": {"model_quantized.onnx_data": size, "vision_encoder_quantized.onnx_data": most}
        }
        found = judge(small.spec, plan, profile, WrittenSizes(TEXT_BYTES, {}, files))
        assert found is not None
        assert found.fit == fit
        said = f"model_quantized.onnx_data of onnx-web takes {size:,} bytes, and a file that"
        assert (said in found.reason) is (fit == "does not fit")
