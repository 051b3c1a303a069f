"""The float twin a stage at a time: the same logits as in one piece, and nothing left behind.

Where the artifact itself is fp32, the driver runs the very graph in one piece, each decode step alone: the
twin is held against it on both of a validation's routes. Kernels for many rows may round otherwise than
those for one, so that far and no farther.
"""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import LoweringError
from exporter.lowering.interface import Segment
from exporter.lowering.litert.reading import TEXT, open_models
from exporter.lowering.litert.twin import float_twin as module
from exporter.lowering.litert.twin import widening
from exporter.lowering.litert.twin.float_graph import FloatGraph
from exporter.lowering.litert.twin.float_twin import LiteRtTwin
from exporter.lowering.litert.twin.stage_file import write_stage
from exporter.lowering.litert.twin.stages import Stage, cut
from exporter.schemes import FP32, INT8_CHANNEL
from exporter.validation.routes import SessionRunner, plan_routes
from runtimes.errors import ArtifactError, SessionError
from runtimes.litert.session import LiteRtSession
from runtimes.session import Logits, Tokens
from tests.corruption.litert import AnyModelsFault, corrupt
from tests.tiny import TINY_CONFIGS, VOCABULARY
from tests.unit.exporter.lowering.litert.tiny_releases import (
    CHUNK,
    CONTEXT,
    TinyRelease,
    lowered,
    mean_kl,
    quantized,
    some_tokens,
    twin_logits,
)

STAGE = 48 << 10  # bytes: below some weights of a tiny model, and well below its head
FAMILIES = ["Gemma 2", "Gemma 3", "Gemma 4 E2B", "Gemma 4 12B"]
ROUNDING = 1e-5  # of the largest logit


@pytest.fixture(scope="module", params=FAMILIES)
def float_family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("float")
    return lowered(directory, quantized(directory, TINY_CONFIGS[request.param](), FP32))


def all_logits(runner: LiteRtTwin | SessionRunner, segments: Sequence[Segment], tokens: Tokens) -> Logits:
    """[tokens, vocab], 0 where none came back."""
    found = np.zeros((len(tokens), VOCABULARY), np.float32)
    told: list[int] = []
    for at, rows in runner.run(segments, tokens, told.append):
        found[at : at + len(rows)] = rows
    assert told == sorted(told)
    assert told[-1] == len(tokens)
    return found


@pytest.fixture(scope="module", params=FAMILIES)
def int8_family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("int8")
    return lowered(directory, quantized(directory, TINY_CONFIGS[request.param](), INT8_CHANNEL))


def assert_equal_but_for_rounding(found: Logits, expected: Logits) -> None:
    largest = np.abs(expected).max()
    assert largest > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * largest)


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_stages_give_the_logits_of_the_whole(form: str, float_family: TinyRelease, tmp_path: Path) -> None:
    tokens = some_tokens(CONTEXT)
    twin = LiteRtTwin.of(float_family.path(form), tmp_path, STAGE)
    with LiteRtSession.open(float_family.path(form)) as session:
        assert twin.facts == session.facts
        for route in plan_routes(session.facts, len(tokens)):
            expected = all_logits(SessionRunner(session), route.segments, tokens)
            assert_equal_but_for_rounding(all_logits(twin, route.segments, tokens), expected)


def test_steps_run_together_give_the_logits_of_steps_run_alone(
    int8_family: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = some_tokens(CONTEXT)
    twin = LiteRtTwin.of(int8_family.path("litertlm"), tmp_path)
    for route in plan_routes(twin.facts, len(tokens)):
        monkeypatch.setattr(module, "calls_at_once", lambda share, count: 1)
        alone = all_logits(twin, route.segments, tokens)
        monkeypatch.setattr(module, "calls_at_once", lambda share, count: 7)
        assert CONTEXT % 7, "the last steps are fewer"
        assert_equal_but_for_rounding(all_logits(twin, route.segments, tokens), alone)


def test_weights_are_read_once_for_many_steps(
    int8_release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widening, "CALLS_AT_ONCE", 16)
    twin = LiteRtTwin.of(int8_release.path(), tmp_path)
    told: list[int] = []
    for _ in twin.run((Segment("decode", 40),), some_tokens(40), told.append):
        pass
    stages = cut(twin.graph, {"decode"}, twin.stage_bytes)
    with_caches = sum(bool(stage.caches) for stage in stages)
    assert len(told) == 40 * with_caches + 3 * (len(stages) - with_caches)


@pytest.mark.parametrize("fault", ["scale", "rope", "mask", "norm"])
def test_a_fault_in_the_artifact_is_in_its_twin(
    fault: AnyModelsFault, int8_release: TinyRelease, tmp_path: Path
) -> None:
    tokens, damaged = some_tokens(CONTEXT), int8_release.copy(tmp_path)
    corrupt(damaged.path(), fault)
    honest, faulty = (
        twin_logits(LiteRtTwin.of(release.path(), tmp_path), tokens, 0)
        for release in (int8_release, damaged)
    )
    assert mean_kl(honest, faulty) > 1e-3


@pytest.mark.parametrize("name", ["int8_release", "int4_release", "fp16_release"])
def test_the_size_of_stages_changes_no_bit(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    release: TinyRelease = request.getfixturevalue(name)
    tokens = some_tokens(CONTEXT)
    one, many = (LiteRtTwin.of(release.path(), tmp_path, size) for size in (1 << 30, STAGE))
    for route in plan_routes(one.facts, len(tokens)):
        expected = all_logits(one, route.segments, tokens)
        np.testing.assert_array_equal(all_logits(many, route.segments, tokens), expected)


def test_a_prefill_up_to_the_end_of_the_context_is_what_a_session_makes_of_it(
    fp32_release: TinyRelease, tmp_path: Path
) -> None:
    tokens = some_tokens(CONTEXT)
    segments = (Segment("prefill", CONTEXT - 1), Segment("decode", 1))
    assert CONTEXT % CHUNK, "the last chunk does not fit padded"
    twin = LiteRtTwin.of(fp32_release.path(), tmp_path, STAGE)
    with LiteRtSession.open(fp32_release.path()) as session:
        expected = all_logits(SessionRunner(session), segments, tokens)
    assert_equal_but_for_rounding(all_logits(twin, segments, tokens), expected)


def test_only_what_fits_the_context_and_the_vocabulary_is_run(
    int8_release: TinyRelease, tmp_path: Path
) -> None:
    twin = LiteRtTwin.of(int8_release.path(), tmp_path)
    with pytest.raises(SessionError, match="exceed the context"):
        all_logits(twin, (Segment("decode", CONTEXT + 1),), some_tokens(CONTEXT + 1))
    with pytest.raises(SessionError, match="outside the vocabulary"):
        all_logits(twin, (Segment("decode", 1),), np.array([VOCABULARY], np.int32))


def test_a_run_leaves_nothing_behind(int8_release: TinyRelease, tmp_path: Path) -> None:
    twin = LiteRtTwin.of(int8_release.path(), tmp_path, STAGE)
    seen = set[Path]()
    for _ in twin.run((Segment("decode", 3),), some_tokens(3), lambda _: seen.update(tmp_path.rglob("*"))):
        pass
    assert {"stage.tflite", "xnnpack.cache"} < {path.name for path in seen}
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_given_up_leaves_nothing_behind(int8_release: TinyRelease, tmp_path: Path) -> None:
    twin = LiteRtTwin.of(int8_release.path(), tmp_path, STAGE)
    run = twin.run((Segment("decode", 3),), some_tokens(3), lambda _: None)
    next(run)
    assert list(tmp_path.iterdir()), "the last stage is open"
    run.close()
    assert list(tmp_path.iterdir()) == []


def test_a_run_the_runtime_refuses_leaves_nothing_behind(
    int8_release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = LiteRtTwin.of(int8_release.path(), tmp_path, STAGE)
    written: list[Path] = []

    def damaging(graph: FloatGraph, stage: Stage, path: Path) -> None:
        write_stage(graph, stage, path)
        written.append(path)
        if len(written) == 3:
            path.write_bytes(path.read_bytes()[:1000])

    monkeypatch.setattr(module, "write_stage", damaging)
    with pytest.raises(ArtifactError, match="LiteRT refuses it"):
        all_logits(twin, (Segment("decode", 3),), some_tokens(3))
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_before_it_is_full(
    int8_release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2 * STAGE, STAGE, STAGE))
    twin = LiteRtTwin.of(int8_release.path(), tmp_path, STAGE)
    with pytest.raises(LoweringError, match="name a scratch directory on a larger disk"):
        all_logits(twin, (Segment("decode", 3),), some_tokens(3))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_disk_is_explained(
    int8_release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*ignored: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_stage", full)
    twin = LiteRtTwin.of(int8_release.path(), tmp_path, STAGE)
    with pytest.raises(LoweringError, match=r"No space left on device.*larger disk"):
        all_logits(twin, (Segment("decode", 3),), some_tokens(3))


def test_a_bundle_cut_short_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    cut_short = tmp_path / "cut.litertlm"
    cut_short.write_bytes(int8_release.path("litertlm").read_bytes()[:-100])
    with pytest.raises(LoweringError, match="a section lies"):
        LiteRtTwin.of(cut_short, tmp_path)


def test_a_graph_with_an_input_nothing_gives_is_refused(
    int8_release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = open_models(int8_release.path())
    for signature in models[TEXT].model.signatureDefs:
        for entry in signature.inputs:
            entry.name = b"images" if entry.name == b"mask" else entry.name
    monkeypatch.setattr(module, "open_models", lambda path: models)
    with pytest.raises(LoweringError, match="signature decode lacks 'mask'"):
        LiteRtTwin.of(int8_release.path(), tmp_path)


def test_stages_hold_no_more_than_they_may(int8_release: TinyRelease, tmp_path: Path) -> None:
    twin = LiteRtTwin.of(int8_release.path(), tmp_path, STAGE)
    stages = cut(twin.graph, {"decode"}, STAGE)
    assert len(stages) > 10
    assert all(stage.nbytes <= STAGE for stage in stages)
    assert max(piece.nbytes for piece in twin.graph.pieces.values()) <= STAGE // 4, "packed in memory"
