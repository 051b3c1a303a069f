from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest

from exporter.evaluation.statistics import Agreement, RowReader, agree_with_each
from exporter.lowering.interface import Segment
from exporter.reference.logits_file import LogitsFile
from exporter.validation import routes
from exporter.validation.routes import Keeping, Pace, Route, SessionRunner, plan_routes, run_route
from runtimes.session import Logits, PrefillLogits, SessionFacts, Tokens
from tests.fakes import FAKE_PREFILLS, EagerSession
from tests.tiny import RandomSource, tiny_gemma3

TOKENS = np.random.default_rng(5).integers(0, 512, 97).astype(np.int32)
POSITIONS = len(TOKENS) - 1


def facts(prefill: PrefillLogits, chunk: int = 8) -> SessionFacts:
    return SessionFacts("eager torch", "0", "fp32", 512, 128, chunk, prefill)


def open_eager(prefill: PrefillLogits) -> EagerSession:
    source = RandomSource(tiny_gemma3())
    import torch

    from exporter.models.text.eager import effective_weights

    stored = {name: torch.from_numpy(values) for name, values in source.weights.items()}
    spec = source.components["text"].spec
    return EagerSession(spec, effective_weights(spec, stored), facts(prefill))


@pytest.mark.parametrize("prefill", FAKE_PREFILLS)
@pytest.mark.parametrize(("positions", "chunk"), [(1177, 128), (1177, 1), (95, 8), (63, 64), (16, 4)])
def test_routes_give_every_token_once_and_exercise_both_calls(
    prefill: PrefillLogits, positions: int, chunk: int
) -> None:
    whole, turns = plan_routes(facts(prefill, chunk), positions)
    for route in (whole, turns):
        assert sum(segment.tokens for segment in route.segments) == positions
        assert all(segment.tokens > 0 for segment in route.segments)
    assert whole.segments[0].call == ("prefill" if prefill == "all" else "decode")
    assert [segment.call for segment in turns.segments] == ["prefill", "decode", "prefill", "decode"]
    if chunk > 1:
        assert all(s.tokens % chunk for s in turns.segments if s.call == "prefill"), "ends on a boundary"


def test_the_tail_is_decoded_past_the_window_of_the_sample() -> None:
    _, turns = plan_routes(facts("none", 128), 1177)
    tail = turns.segments[-1].tokens
    assert tail >= 128
    assert 1177 - tail > 512


def logits_by(route: Route, session: EagerSession, path: Path) -> Logits:
    file = LogitsFile.create(path, POSITIONS, 512)
    run_route(SessionRunner(session), route, TOKENS, {}, tell=lambda _: None, keeping=Keeping(file=file))
    return file.rows(0, POSITIONS)


def test_every_manner_of_feeding_gives_the_same_logits(tmp_path: Path) -> None:
    everything = open_eager("all")
    whole, turns = plan_routes(everything.facts, POSITIONS)
    expected = logits_by(whole, everything, tmp_path / "whole")
    assert np.abs(logits_by(turns, everything, tmp_path / "turns") - expected).max() < 1e-4
    stepwise = open_eager("none")
    stepped, _ = plan_routes(stepwise.facts, POSITIONS)
    assert np.abs(logits_by(stepped, stepwise, tmp_path / "steps") - expected).max() < 1e-4


@pytest.mark.parametrize("prefill", FAKE_PREFILLS)
def test_what_comes_back_is_compared_at_its_own_position(
    prefill: PrefillLogits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "BATCH_BYTES", 5 * 512 * 4)
    reference = LogitsFile.create(tmp_path / "reference", POSITIONS, 512)
    source = open_eager("all")
    reference.write_rows(0, source.prefill(TOKENS[:-1]))
    session = open_eager(prefill)
    pace, told = Pace(), list[int]()
    whole, turns = plan_routes(session.facts, POSITIONS)
    runner = SessionRunner(session, pace)
    first = run_route(
        runner, whole, TOKENS, {"it": reference}, tell=told.append, keeping=Keeping(turns.decoded())
    )
    assert len(first.agreements["it"].kl) == POSITIONS
    assert first.agreements["it"].statistics().mean_kl < 1e-8
    assert sorted(first.kept) == turns.decoded().tolist()
    assert told[-1] == POSITIONS
    second = run_route(runner, turns, TOKENS, {"itself": first.kept}, tell=told.append)
    assert len(second.agreements["itself"].kl) == len(turns.decoded())
    assert second.agreements["itself"].statistics().mean_kl < 1e-8
    assert pace.tokens["prefill"] + pace.tokens["decode"] == 2 * POSITIONS
    assert second.non_finite == 0


def test_a_pace_without_calls_is_unknown() -> None:
    assert Pace().per_second("decode") is None


class SparseRunner:
    """Returns logits of some positions, the position itself in each, in pieces of the sizes given."""

    facts = facts("last")

    def __init__(self, pieces: dict[int, int]) -> None:
        self.pieces = pieces
        self.closed = False

    def run(
        self, segments: Sequence[Segment], tokens: Tokens, tell: Callable[[int], None]
    ) -> Generator[tuple[int, Logits]]:
        try:
            for start, rows in self.pieces.items():
                yield start, np.repeat(np.arange(start, start + rows, dtype=np.float32)[:, None], 512, 1)
        finally:
            self.closed = True


def test_rows_are_compared_together_and_at_their_own_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "BATCH_BYTES", 3 * 512 * 4)
    sizes = list[int]()

    def counted(references: Sequence[RowReader], subject: Logits, following: Tokens) -> list[Agreement]:
        sizes.append(len(subject))
        return agree_with_each(references, subject, following)

    monkeypatch.setattr(routes, "agree_with_each", counted)
    file = LogitsFile.create(tmp_path / "file", POSITIONS, 512)
    runner = SparseRunner({3: 1, 4: 1, 5: 1, 6: 1, 9: 1, 20: 8, 28: 1})
    route = Route((Segment("decode", POSITIONS),), 8)
    run_route(runner, route, TOKENS, {"zeros": file}, tell=lambda _: None, keeping=Keeping(file=file))
    assert sizes == [3, 1, 1, 8, 1]
    written = file.rows(0, POSITIONS)[:, 0]
    assert np.flatnonzero(written).tolist() == [3, 4, 5, 6, 9, *range(20, 29)]
    assert all(written[at] in (0, at) for at in range(POSITIONS))


def test_a_runner_is_closed_where_a_comparison_fails(tmp_path: Path) -> None:
    runner = SparseRunner({3: 1, 9: 1})
    file = LogitsFile(tmp_path / "is not there", POSITIONS, 512)
    route = Route((Segment("decode", POSITIONS),), 8)
    with pytest.raises(FileNotFoundError):
        run_route(runner, route, TOKENS, {"it": file}, tell=lambda _: None)
    assert runner.closed
