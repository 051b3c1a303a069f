"""The image gates on tiny models: honest towers and decoders pass, and what goes wrong is caught.

Matrix: towers of all four kinds before text models of their family, int8, both in plain torch. Not asserted
here: any runtime, nor what is done to a picture before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.gates import MEAN_KL
from exporter.validation.modality import IMAGES
from exporter.validation.placed_prompts import ALONE, TWO, named_places
from exporter.validation.rows_apart import COSINE, RELATIVE
from exporter.validation.sample_pictures import SAMPLES
from exporter.validation.tower_check import DIFFERING, LOST, check_towers
from exporter.validation.verdict import FAILURES, Failed, Passed, Skipped
from runtimes.encoder import EncodedRows
from runtimes.errors import RuntimeUnavailable, SessionError
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Logits, Tokens
from tests.fakes import SCALES
from tests.jobs import a_job, a_plan, a_variant
from tests.seeing import (
    EagerTower,
    OneForAll,
    PixelsScaledTwice,
    PositionsSwapped,
    RowsOfTheOtherImage,
    RowsPooledInAnotherOrder,
    WithoutBlocks,
)
from tests.seeing_models import seeing
from tests.sensing import (
    EagerMultimodalSession,
    Senseless,
    failed,
    statistics,
)
from tests.tiny_image_stores import KINDS


class NotHere(EagerTower):
    """Its runtime is not installed."""

    def rows(self, image: PreparedImage) -> EncodedRows:
        raise RuntimeUnavailable("eager torch is not installed")


class Breaks(EagerMultimodalSession):
    """Takes no images after all."""

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        raise SessionError("there is no such call; export again")


def found(
    place: Path,
    kind: str,
    tower: type[EagerTower] = EagerTower,
    session: type[EagerMultimodalSession] = EagerMultimodalSession,
    damaged: str | None = None,
) -> Findings:
    """What is found of a release that is run so. damaged: a tensor of its archive, one number of it."""
    model = seeing(place, kind)
    vision = model.checkpoint.components["vision"].spec
    name = f"{tower.__name__}-{session.__name__}-{damaged}"
    return model.run_by(lambda path: tower.open(path, vision), session, name, damaged)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeing")


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_tower_and_decoder_pass_every_gate(kind: str, places: Path) -> None:
    findings = found(places, kind)
    assert all(isinstance(gate.verdict, Passed) for gate in findings.gates), failed(findings)
    assert {RELATIVE, COSINE, DIFFERING, MEAN_KL, IMAGES.senseless_kl} <= statistics(findings.gates)
    tried = {each.route for each in findings.comparisons}
    assert tried == {*named_places("picture"), ALONE.format("picture")}, (
        "before and behind the window, and two at once"
    )
    images = findings.towers["images"]
    quantised, run = images.runs
    assert (quantised.artifact, run.artifact) == (None, "model.npz")
    assert [each.sample for each in run.samples] == list(SAMPLES)
    assert all(0 < each.relative < 0.05 for each in quantised.samples), "codes are not the weights"
    assert all(each.answer is not None and each.answer.tokens == 16 for each in run.samples)


@pytest.mark.parametrize(
    ("kind", "wrong", "caught"),
    [
        ("Gemma 4 E2B", PositionsSwapped, {RELATIVE, COSINE}),
        ("Gemma 3", OneForAll, {RELATIVE, COSINE}),
        ("Gemma 4 12B", PositionsSwapped, {RELATIVE, COSINE}),
        ("Gemma 3", PixelsScaledTwice, {RELATIVE}),
        ("Gemma 3", RowsPooledInAnotherOrder, {RELATIVE, COSINE}),
    ],
)
def test_a_tower_that_computes_something_else_is_caught_by_its_rows(
    kind: str, wrong: type[EagerTower], caught: set[str], places: Path
) -> None:
    findings = found(places, kind, tower=wrong)
    assert caught <= statistics(failed(findings)) <= {RELATIVE, COSINE, LOST}


@pytest.mark.parametrize(
    ("kind", "wrong", "subjects"),
    [
        ("Gemma 3", WithoutBlocks, set(named_places("picture"))),
        ("Gemma 4 31B", WithoutBlocks, set(named_places("picture"))),
        ("Gemma 3", RowsOfTheOtherImage, {TWO.format("picture")}),
    ],
)
def test_a_decoder_that_takes_rows_otherwise_is_caught_behind_them(
    kind: str, wrong: type[EagerMultimodalSession], subjects: set[str], places: Path
) -> None:
    findings = found(places, kind, session=wrong)
    gates = [gate for gate in failed(findings) if gate.statistic == MEAN_KL]
    assert {gate.subject.partition(": ")[2] for gate in gates} == subjects


def test_a_release_that_sees_nothing_is_caught(places: Path) -> None:
    findings = found(places, "Gemma 3", session=Senseless)
    assert {MEAN_KL, IMAGES.senseless_kl} <= statistics(failed(findings))


def test_a_damaged_weight_of_the_tower_is_found_in_the_file(places: Path) -> None:
    name = "vision_tower.encoder.layers.1.mlp.fc1.weight"
    findings = found(places, "Gemma 3", damaged=f"{name}{SCALES}")
    (gate,) = [each for each in failed(findings) if each.statistic == DIFFERING]
    assert isinstance(gate.verdict, Failed)
    assert gate.verdict.measured == 1


def test_a_runtime_that_is_not_here_skips_and_one_that_breaks_fails(places: Path) -> None:
    missing = found(places, "Gemma 3", tower=NotHere)
    assert [gate.verdict for gate in missing.gates if isinstance(gate.verdict, Skipped)]
    broken = found(places, "Gemma 3", session=Breaks)
    assert [gate.statistic for gate in failed(broken)] == [FAILURES]
    assert any("no such call" in each for each in broken.not_checked)


def test_a_release_of_text_alone_has_no_gate_of_images(places: Path) -> None:
    findings = Findings()
    model = seeing(places, "Gemma 3")
    plan = a_plan(model.source, a_variant("int8", ("onnx",)))
    job = a_job(model.source, (plan,), {}, places / "none")
    check_towers(IMAGES, job, ReleaseUnderTest(places, (), plan, model.checkpoint), places, findings)
    assert findings == Findings()
