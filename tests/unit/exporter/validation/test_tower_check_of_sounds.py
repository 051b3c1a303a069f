"""The gates on sounds, on tiny models: honest encoders and decoders pass, and what goes wrong is caught.

Matrix: encoders of both kinds before text models of their family, int8, both in plain torch. What is not
about sounds alone is shown of images (test_tower_check.py). Not asserted here: any runtime, nor what is
done to a sound before.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.validation.findings import Findings
from exporter.validation.gates import MEAN_KL
from exporter.validation.modality import SOUNDS
from exporter.validation.placed_prompts import ALONE, BESIDE, named_places
from exporter.validation.rows_apart import COSINE, RELATIVE
from exporter.validation.sound_samples import SOUNDS as SAMPLES
from exporter.validation.tower_check import DIFFERING, check_towers
from exporter.validation.verdict import Failed, Passed
from tests.fakes import SCALES
from tests.hearing import (
    EagerEncoder,
    FramesReversed,
    OneForAll,
    RowsPerLayerOfTheId,
    Scaled,
    SoundsBothWays,
    SpectraOfPower,
)
from tests.jobs import a_job
from tests.seeing_models import hearing, seeing
from tests.sensing import (
    EagerMultimodalSession,
    Senseless,
    SensingLowering,
    failed,
    statistics,
)
from tests.tiny_encoders import TINY_ENCODERS

PLACES = {*named_places("sound"), BESIDE.format("sound")}


def found(
    place: Path,
    kind: str,
    encoder: type[EagerEncoder] = EagerEncoder,
    session: type[EagerMultimodalSession] = EagerMultimodalSession,
    damaged: str | None = None,
) -> Findings:
    """What is found of a release that is run so. damaged: a tensor of its archive, one number of it."""
    model = hearing(place, kind)
    audio, name = model.checkpoint.components["audio"].spec, f"{encoder.__name__}-{session.__name__}"
    return model.run_by(lambda path: encoder.open(path, audio), session, name, damaged)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hearing")


@pytest.mark.parametrize("kind", TINY_ENCODERS)
def test_an_honest_encoder_and_decoder_pass_every_gate(kind: str, place: Path) -> None:
    findings = found(place, kind)
    assert all(isinstance(gate.verdict, Passed) for gate in findings.gates), failed(findings)
    assert {gate.kind for gate in findings.gates} == {"sounds"}
    assert {RELATIVE, COSINE, DIFFERING, MEAN_KL, SOUNDS.senseless_kl} <= statistics(findings.gates)
    assert {each.route for each in findings.comparisons} == {*PLACES, ALONE.format("sound")}
    quantised, run = findings.towers["sounds"].runs
    assert (quantised.artifact, run.artifact) == (None, "model.npz")
    assert [each.sample for each in run.samples] == list(SAMPLES)
    assert all(0 < each.relative < 0.05 for each in quantised.samples), "codes are not the weights"
    assert all(each.answer is not None and each.answer.tokens == 16 for each in run.samples)


# Rows and what is said behind them are judged apart, so that one run shows a wrong encoder and a wrong
# decoder at once.
@pytest.mark.parametrize(
    ("kind", "encoder", "session"),
    [
        ("Gemma 4 E2B", FramesReversed, RowsPerLayerOfTheId),
        ("Gemma 4 12B", FramesReversed, SoundsBothWays),
        ("Gemma 4 E2B", OneForAll, Scaled),
    ],
)
def test_what_computes_something_else_is_caught_by_rows_and_behind_them(
    kind: str, encoder: type[EagerEncoder], session: type[EagerMultimodalSession], place: Path
) -> None:
    wrong = failed(found(place, kind, encoder, session))
    assert {RELATIVE, COSINE} <= statistics([gate for gate in wrong if gate.subject.endswith("rows")])
    behind = {gate.subject.partition(": ")[2] for gate in wrong if gate.statistic == MEAN_KL}
    assert behind == PLACES, "text alone is as it was"


def test_a_deaf_release_and_a_damaged_encoder_are_caught(place: Path) -> None:
    name = "audio_tower.layers.1.feed_forward1.ffw_layer_1.linear.weight"
    findings = found(place, "Gemma 4 E2B", SpectraOfPower, Senseless, f"{name}{SCALES}")
    wrong = failed(findings)
    assert {RELATIVE, MEAN_KL, SOUNDS.senseless_kl} <= statistics(wrong)
    (gate,) = [each for each in wrong if each.statistic == DIFFERING]
    assert isinstance(gate.verdict, Failed)
    assert gate.verdict.measured == 1


def test_a_release_that_only_sees_has_no_gate_of_sounds(place: Path) -> None:
    model, findings = seeing(place, "Gemma 4 E2B"), Findings()
    release = model.release(SensingLowering(), "sees")
    job = a_job(model.source, (release.plan,), {}, place / "none")
    check_towers(SOUNDS, job, release, place, findings)
    assert findings == Findings()


def test_a_context_without_room_for_answers_is_said_and_no_gate_of_theirs_holds(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.seeing_models.HEARING", 64)
    model = hearing(place, "Gemma 4 E2B")
    audio = model.checkpoint.components["audio"].spec
    findings = model.run_by(
        lambda path: EagerEncoder.open(path, audio), EagerMultimodalSession, "short", None
    )
    assert not failed(findings)
    assert not any("answers" in gate.subject for gate in findings.gates)
    (said,) = [each for each in findings.not_checked if "answer" in each]
    assert "no answer was asked for about chirp, tones, noise: the context of 64 tokens" in said
