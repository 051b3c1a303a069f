"""A format that no device requires is left out before what is required is held against the gates.

LiteRT on an iPhone's GPU takes 4-bit weights by row, and while it is made Core ML gets them so too; without
it they are in groups, which are larger.
"""

from __future__ import annotations

from dataclasses import replace

from exporter.models.components import text_alone
from exporter.models.published import published_spec
from exporter.planning.candidates import AskedFor
from exporter.planning.judging import judge
from exporter.planning.planned_model import PlannedModel
from exporter.planning.planner import Planner
from exporter.planning.profiles import Target, load_profile
from exporter.planning.recipe import load_recipe
from exporter.planning.trials import PREDICTED

MODEL = PlannedModel("gemma-7b", text_alone(published_spec("gemma-7b")), {})
PHONE = load_profile("iphone-15-pro")
TARGET = Target(PHONE.name, (PHONE,))
INT4 = AskedFor(recipe=load_recipe("int4"), context=1024)


def test_what_is_larger_without_a_format_that_is_left_out_is_judged_as_it_would_be_made() -> None:
    found = Planner(MODEL).plan(TARGET, INT4)
    (plan,) = found.plans
    verdict = judge(MODEL.spec, plan, PHONE, PREDICTED)
    assert verdict is not None
    assert (verdict.fit, found.fits) == ("does not fit", False)
    assert plan.variant.formats == ("coreml",)
    alone = Planner(MODEL).plan(TARGET, replace(INT4, formats=("coreml",)))
    assert found.misses == alone.misses


def test_the_nearest_fit_is_of_the_formats_that_its_flags_would_make() -> None:
    nearest = Planner(MODEL).plan(TARGET, INT4).nearest
    assert nearest is not None
    assert not nearest.misses
    assert nearest.below == (), "in groups, as LiteRT is left out"
    assert nearest.doubts
    asked = Planner(MODEL).plan(TARGET, replace(INT4, context=nearest.context))
    (plan,) = asked.plans
    verdict = judge(MODEL.spec, plan, PHONE, PREDICTED)
    assert verdict is not None
    assert (verdict.fit, verdict.below_fidelity) == ("may not fit", None)


def test_a_format_that_is_not_required_does_not_lower_what_is_where_the_devices_decide() -> None:
    phone = load_profile("pixel-8")
    memory = replace(phone.memory, app=replace(phone.memory.app, bytes=1_800_000_000))
    phone = replace(phone, memory=memory, gates=replace(phone.gates, formats=("onnx",)))
    small = PlannedModel("gemma-3-1b", text_alone(published_spec("gemma-3-1b")), {})
    found = Planner(small).plan(Target(phone.name, (phone,)), AskedFor())
    (plan,) = found.plans
    assert (found.fits, plan.variant.recipe.name, plan.variant.formats) == (True, "int4", ("onnx",))
    verdict = judge(small.spec, plan, phone, PREDICTED)
    assert verdict is not None
    assert (verdict.fit, verdict.below_fidelity) == ("fits", None)
    assert "Without litertlm: 4-bit weights share one scale a row" in verdict.reason
    by_name = Planner(small).plan(Target(phone.name, (phone,)), AskedFor(load_recipe("int4"), 1024))
    assert by_name.plans[0].variant.formats == ("litertlm", "onnx")


def test_where_what_is_required_has_no_room_either_way_every_format_is_shown() -> None:
    app = replace(PHONE.memory.app, bytes=2_000_000_000)
    small = replace(PHONE.memory, app=app, app_with_entitlement=None)
    phone = replace(PHONE, memory=small)
    found = Planner(MODEL).plan(Target(phone.name, (phone,)), AskedFor())
    (plan,) = found.plans
    assert not found.fits
    assert set(plan.variant.formats) == {"litertlm", "coreml"}
