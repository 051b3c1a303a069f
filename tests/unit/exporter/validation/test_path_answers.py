"""Paths that answer about a picture or a sound from its file: judged where one is here, put down where not.

A client in plain torch plays a browser, and goes wrong in every way a gate is for. Real ones:
tests/parity/test_web_senses.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from exporter.formats.execution_path import (
    Answered,
    Answering,
    AnsweringOrder,
    ExecutionPath,
    PathAnswer,
    PathOrder,
)
from exporter.formats.rows_driver import RowsDriver
from exporter.validation.checked_tower import CheckedTower
from exporter.validation.findings import Findings
from exporter.validation.gates import MEAN_KL
from exporter.validation.modality import IMAGES, SOUNDS
from exporter.validation.path_answers import answer_on_path
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.report import PathExecution, PathFailure, PathRun
from exporter.validation.rows_apart import COSINE, RELATIVE
from exporter.validation.rows_reference import rows_reference
from exporter.validation.sound_samples import from_file
from exporter.validation.verdict import FAILURES, Failed, Skipped
from runtimes.errors import BeyondAdapter, ExecutionFailed
from runtimes.images.picture import read_picture
from runtimes.images.prepared import PreparedImage
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import read_processing
from runtimes.multimodal.session import PlacedRows
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.preparing import prepared_sound
from runtimes.sounds.processing import SOUND_PROCESSING_NAME, read_sound_processing
from runtimes.sounds.sound_file import read_sound
from tests.hearing import EagerEncoder
from tests.jobs import a_job
from tests.seeing import EagerTower
from tests.seeing_models import Sensing, hearing, seeing
from tests.sensing import SensingLowering, eager_rows_driver

BLIND, DEAF = IMAGES.senseless_kl, SOUNDS.senseless_kl
Run = Callable[[AnsweringOrder], Answered]


def driver_of(model: Sensing) -> RowsDriver:
    parts = model.checkpoint.components
    text, vision = parts["text"].spec, parts["vision"].spec
    if not model.hears:
        return eager_rows_driver(text, vision.tokens.blocks, lambda path: EagerTower.open(path, vision))
    audio = parts["audio"].spec
    return eager_rows_driver(text, vision.tokens.blocks, lambda path: EagerEncoder.open(path, audio))


@dataclass(frozen=True)
class Client:
    """Answers in plain torch. brighter: what it prepares is that much more than gemma-export's. rows: what
    its encoder makes is times that. placed: what it puts into a prompt is. forgets: its cache loses a token
    of the answer. left_over: what an adapter did not take."""

    driver: RowsDriver
    brighter: float = 0.0
    rows: float = 1.0
    placed: float = 1.0
    forgets: bool = False
    left_over: tuple[str, ...] = ()

    def __call__(self, order: AnsweringOrder) -> Answered:
        prepared = self._prepared(order)
        with self.driver.open_encoder(order.directory, order.encoder, order.artifact) as encoder:
            rows = encoder.rows(prepared)
        asked, found = [2, 9, *[order.soft] * len(rows), 11, 12, 13], []
        tokens = list(asked)
        with self.driver.open_session(order.directory, order.encoder, order.artifact) as session:
            placed = [PlacedRows(2, rows * np.float32(self.placed), order.kind)]
            logits = session.prefill_with_rows(np.array(asked, np.int32), placed)[-1]
            for number in range(order.answered):
                found.append(logits.copy())
                tokens.append(int(logits.argmax()))
                if not (self.forgets and number == 2):
                    logits = session.decode(tokens[-1])
        return Answered(
            prepared=prepared,
            rows=rows * np.float32(self.rows),
            tokens=np.array(tokens, np.int32),
            prompted=len(asked),
            logits=np.stack(found),
            runtime="a client",
            version="4",
            device="a card",
            arithmetic="fp32",
            left_over=self.left_over,
        )

    def _prepared(self, order: AnsweringOrder) -> PreparedImage | PreparedSound:
        if order.kind == "image":
            pixels = read_picture(order.file).pixels
            image = prepared_image(pixels, read_processing(order.directory))
            return replace(image, pixels=image.pixels + np.float32(self.brighter))
        processing = read_sound_processing(order.directory)
        sound = prepared_sound(read_sound(order.file, processing).samples, processing)
        return replace(sound, features=sound.features + np.float32(self.brighter))


def never(order: PathOrder) -> PathAnswer:
    raise AssertionError("text is another check's")


def path_of(run: Run, missing: str | None = None, work: float = 1e9) -> ExecutionPath:
    return ExecutionPath(
        name="browser",
        title="a browser",
        missing=lambda: missing,
        run=never,
        reference="CPU",
        mean_kl_limit=1e-6,
        seconds=1.0,
        says_nothing_of="nothing",
        answering=Answering(run, 1e-3, 0.9999, work),
    )


def checked(model: Sensing, name: str = "release", longest: int | None = None) -> CheckedTower:
    """longest: soft tokens of a sound at most, the model's own number for None."""
    modality = SOUNDS if model.hears else IMAGES
    release = model.release(SensingLowering(), name)
    if longest is not None:
        processing = replace(read_sound_processing(release.directory), soft_tokens=longest)
        path = release.directory / SOUND_PROCESSING_NAME
        path.write_text(processing.to_json(), encoding="utf-8")
    release = replace(release, rows_drivers=lambda _: (driver_of(model),))
    scratch = release.directory.parent / "scratch"
    scratch.mkdir()
    job = a_job(model.source, (release.plan,), {"onnx": SensingLowering()}, scratch / "work")
    (encoder,) = modality.encoders(release)
    reference = rows_reference(modality, job, release, scratch)
    return CheckedTower(job, release, encoder, release.artifacts[0], reference, scratch, Findings())


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> CheckedTower:
    return checked(seeing(tmp_path_factory.mktemp("seeing"), "Gemma 3"))


def found(tower: CheckedTower, path: ExecutionPath) -> tuple[dict[str, bool], PathRun]:
    """Whether each gate holds, by its statistic; and how the path's run was put down."""
    tower.findings.not_checked.clear()
    tower = replace(tower, findings=Findings(not_checked=tower.findings.not_checked))
    assert path.answering is not None
    answer_on_path(tower, path, path.answering)
    assert {gate.kind for gate in tower.findings.gates} <= {tower.kind}
    (run,) = tower.findings.paths
    gates = {gate.statistic: not isinstance(gate.verdict, Failed) for gate in tower.findings.gates}
    return gates, run


def of(tower: CheckedTower, **faults: Any) -> Client:
    return Client(tower.release.rows_drivers(tower.encoder)[0], **faults)


def test_an_honest_client_passes_and_its_pixels_are_told_apart_from_ours(tower: CheckedTower) -> None:
    gates, run = found(tower, path_of(of(tower)))
    assert all(gates.values())
    assert {RELATIVE, COSINE, MEAN_KL, BLIND, LEFT_OVER} < set(gates)
    assert isinstance(run.result, PathExecution)
    assert "opened quadrants.png and answered" in run.result.remarks[0]
    assert "up to 0 from gemma-export's" in run.result.remarks[0]
    gates, run = found(tower, path_of(of(tower, brighter=0.25)))
    assert all(gates.values()), "it is held against the CPU on its own pixels"
    assert isinstance(run.result, PathExecution)
    assert "up to 0.25 from gemma-export's" in run.result.remarks[0]


@pytest.mark.parametrize(
    ("faults", "caught"),
    [
        ({"rows": 1.01}, {RELATIVE}),
        ({"rows": -1.0}, {RELATIVE, COSINE}),
        ({"placed": 0.0}, {MEAN_KL, BLIND}),
        ({"placed": 1.5}, {MEAN_KL}),
        ({"forgets": True}, {MEAN_KL}),
        ({"left_over": ("MatMul (q)",)}, {LEFT_OVER}),
    ],
)
def test_what_goes_wrong_in_a_client_is_caught(
    faults: dict[str, Any], caught: set[str], tower: CheckedTower
) -> None:
    gates, _ = found(tower, path_of(of(tower, **faults)))
    assert {statistic for statistic, holds in gates.items() if not holds} == caught


def test_a_client_that_crashes_fails_and_one_without_room_is_no_gate(tower: CheckedTower) -> None:
    def crashes(order: AnsweringOrder) -> Answered:
        raise ExecutionFailed("it ended by SIGABRT")

    def has_no_room(order: AnsweringOrder) -> Answered:
        raise BeyondAdapter("more than it computes with")

    gates, run = found(tower, path_of(crashes))
    assert gates == {FAILURES: False}
    assert run.result == PathFailure("it ended by SIGABRT")
    assert any("SIGABRT" in each for each in tower.findings.not_checked)
    gates, run = found(tower, path_of(has_no_room))
    assert gates == {}
    assert run.result == Skipped("more than it computes with")


def test_what_is_not_tried_is_put_down_with_its_reason(tower: CheckedTower) -> None:
    def untried(order: AnsweringOrder) -> Answered:
        raise AssertionError("it is not for it")

    short = replace(tower, artifact=replace(tower.artifact, context=32))
    for each, path, reason in (
        (tower, path_of(untried, missing="there is no Chromium"), "there is no Chromium"),
        (tower, path_of(untried, work=10.0), "takes what computes here many minutes"),
        (short, path_of(untried), "no picture with a question and an answer fits a context of 32"),
    ):
        gates, run = found(each, path)
        assert gates == {}
        assert isinstance(run.result, Skipped)
        assert reason in run.result.reason


@pytest.fixture(scope="module")
def hears(tmp_path_factory: pytest.TempPathFactory) -> Sensing:
    return hearing(tmp_path_factory.mktemp("hearing"), "Gemma 4 12B")


def test_a_client_is_given_no_longer_sound_than_the_model_hears(hears: Sensing) -> None:
    tower, whole = checked(hears, "short", longest=8), checked(hears, "whole")
    files = []
    for each in (tower, whole):
        client = of(each)

        def looked_at(order: AnsweringOrder, client: Client = client) -> Answered:
            files.append(from_file(order.file))
            return client(order)

        gates, run = found(each, path_of(looked_at))
        assert all(gates.values())
        assert isinstance(run.result, PathExecution)
        assert "up to 0 from gemma-export's" in run.result.remarks[0]
    short, long = files
    samples = read_sound_processing(hears.place / "short" / "release").samples
    assert samples is not None
    assert len(short) == 8 * samples.per_token < len(long)
    np.testing.assert_array_equal(short, long[: len(short)])


def test_sounds_are_held_to_the_same(hears: Sensing) -> None:
    tower = checked(hears)
    gates, run = found(tower, path_of(of(tower)))
    assert all(gates.values())
    assert isinstance(run.result, PathExecution)
    assert "opened chirp.wav" in run.result.remarks[0]
    assert "up to 0 from gemma-export's" in run.result.remarks[0], "of the same 16 bits"
    gates, _ = found(tower, path_of(of(tower, placed=0.0)))
    assert {statistic for statistic, holds in gates.items() if not holds} == {MEAN_KL, DEAF}
