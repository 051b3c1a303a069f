"""Room for a sound: how long one fits, said in the plan and the report, and when none does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.errors import PlanError
from exporter.planning.candidates import AskedFor
from exporter.planning.planner import Planner
from exporter.planning.profiles import load_target
from exporter.planning.published_model import published_model
from runtimes.formats import Format
from runtimes.sounds.processing import SoundLength


def planned(context: int, format: Format = "onnx", sound: SoundLength | None = None) -> list[str]:
    """Remarks on the plans of a model that hears and, so that pictures do not decide, does not see. sound:
    the longest it hears; None for the published model's."""
    model = published_model("gemma-4-e2b", None, ("text", "audio"))
    assert model is not None
    model = replace(model, sound=sound or model.sound)
    asked = AskedFor(context=context, formats=(format,))
    return [
        each for plan in Planner(model).plan(load_target("desktop"), asked).plans for each in plan.remarks
    ]


def test_a_context_with_room_for_a_shorter_sound_says_for_how_long_a_one() -> None:
    assert planned(1024) == []
    assert planned(512) == [
        "The context of 512 tokens has room for a sound of 478 soft tokens (19.12 s) with 32 tokens of "
        "words beside it; the model hears 750 soft tokens (30 s) of one."
    ]


def test_that_litert_lm_hears_a_long_sound_in_pieces_is_said_where_one_fits() -> None:
    (said,) = planned(1024, "litertlm")
    assert said.startswith("litertlm: of a sound of more than 12 s LiteRT-LM hears each 12 s by itself")
    assert any("by itself" in each for each in planned(352, "litertlm"))
    assert not any("by itself" in each for each in planned(320, "litertlm")), "none of 12 s fits"
    assert planned(1024, "tflite") == []


def test_a_context_without_room_for_a_sound_of_a_second_is_refused_where_sounds_are_taken() -> None:
    with pytest.raises(PlanError, match=r"30 soft tokens \(1.2 s\) take two tokens more") as caught:
        planned(63)
    assert caught.value.where == "--context 63"
    assert "--components text" in caught.value.then
    assert "30 soft tokens" in planned(64)[0]
    assert planned(48, "tflite") == [], "takes tokens alone"


def test_soft_tokens_of_another_length_are_counted_as_many_as_a_sound_of_a_second_has() -> None:
    with pytest.raises(PlanError, match=r"200 soft tokens \(1.2 s\) take two tokens more"):
        planned(233, sound=SoundLength(750, 4.5))
    assert "(1.332 s)" in planned(256, sound=SoundLength(750, 4.5))[0]
    with pytest.raises(PlanError, match=r"50 soft tokens \(0.5 s\) take two tokens more"):
        planned(83, sound=SoundLength(50, 0.5))


def test_a_sound_of_so_many_seconds_ends_with_a_whole_soft_token() -> None:
    longest = SoundLength(750, 30.0)
    assert longest.lasting(1.2).soft_tokens == 30
    assert longest.lasting(1.201).soft_tokens == 31
    assert longest.lasting(31.0) == longest


def test_a_sound_that_fits_is_the_beginning_of_the_longest() -> None:
    longest = SoundLength(100, 0.6)
    assert longest.within(120) == longest
    assert longest.within(50) == SoundLength(50, 0.3)
    assert longest.within(-3) == replace(longest, soft_tokens=0, seconds=0.0)
