"""Towers and decoders behind them on execution paths: judged where one executes them, named where not.

A path that plays a GPU in plain torch stands in for all of them. Real ones: tests/parity/test_litert_gpu_*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from exporter.formats.execution_path import (
    BehindAnswer,
    ExecutionPath,
    PathAnswer,
    PathOrder,
    RowsAnswer,
    Sensing,
    SensingOrder,
)
from exporter.validation.findings import Findings
from exporter.validation.gates import MEAN_KL
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.placed_prompts import ALONE, BEHIND_WINDOW, MIDDLE
from exporter.validation.prompts_on_paths import LOST
from exporter.validation.rows_apart import COSINE, RELATIVE
from exporter.validation.verdict import Failed, Passed
from runtimes.errors import BeyondAdapter, ExecutionFailed, RuntimesError
from runtimes.multimodal.fed_prompt import FedPrompt, behind_each
from runtimes.multimodal.passed_files import Prepared
from tests.seeing import EagerTower, WithoutBlocks
from tests.seeing_models import Sensing as Model
from tests.seeing_models import seeing
from tests.sensing import EagerMultimodalSession, Senseless, SensingLowering, eager_rows_driver

KIND = "Gemma 4 12B"
ROWS, PROMPTS = "a GPU: rows", "a GPU: prompts"
TEXT, IN_THE_MIDDLE, BEHIND = (
    f"a GPU: {each.format('picture')}" for each in (ALONE, MIDDLE, BEHIND_WINDOW)
)
OWN = f"{IN_THE_MIDDLE}, rows of its own"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return seeing(tmp_path_factory.mktemp("seeing"), KIND)


def never(order: PathOrder) -> PathAnswer:
    raise AssertionError("text is another check's")


@dataclass(frozen=True)
class PlayedGpu:
    """A tower and a decoder in plain torch. factor: what rows are multiplied with. scale: what logits are.
    left_over: operations of either."""

    model: Model
    session: type[EagerMultimodalSession] = EagerMultimodalSession
    factor: float = 1.0
    scale: float = 1.0
    left_over: tuple[str, ...] = ()

    def rows(self, order: SensingOrder, samples: tuple[Prepared, ...]) -> RowsAnswer:
        spec = self.model.checkpoint.components["vision"].spec
        tower = EagerTower.open(order.directory / order.encoder.path, spec)
        (picture,) = samples
        rows = tower.rows(picture) * self.factor  # type: ignore[arg-type]  # a picture
        return RowsAnswer((rows,), "a card", self.left_over)

    def behind(self, order: SensingOrder, prompts: tuple[FedPrompt, ...]) -> BehindAnswer:
        driver = _driver(self.model, self.session)
        with driver.open_session(order.directory, order.encoder, order.artifact) as session:
            logits = behind_each(session, prompts, lambda said: None)
        return BehindAnswer(tuple(each * self.scale for each in logits), "a card", self.left_over)

    def sensing(self, work: float = 1e12, **runs: Any) -> Sensing:
        return replace(Sensing(self.rows, self.behind, 1e-3, 0.999, 10.0, 1e-3, lambda: work), **runs)


def raising(error: RuntimesError) -> Callable[..., Any]:
    def run(order: SensingOrder, given: object) -> Any:
        raise error

    return run


def path_of(sensing: Sensing | None, **changes: Any) -> ExecutionPath:
    path = ExecutionPath(
        name="gpu",
        title="a GPU",
        missing=lambda: None,
        run=never,
        reference="CPU",
        mean_kl_limit=1e-6,
        seconds=1.0,
        says_nothing_of="nothing",
        why_refused="it takes none",
        sensing=sensing,
    )
    return replace(path, **changes)


def _driver(model: Model, session: type[EagerMultimodalSession] = EagerMultimodalSession) -> Any:
    parts = model.checkpoint.components
    vision = parts["vision"].spec
    return eager_rows_driver(
        parts["text"].spec, vision.tokens.blocks, lambda archive: EagerTower.open(archive, vision), session
    )


def found(model: Model, path: ExecutionPath, name: str) -> Findings:
    driver = _driver(model)
    release = replace(
        model.release(SensingLowering(), name), rows_drivers=lambda _: (driver,), paths=lambda _: (path,)
    )
    return model.findings(release, SensingLowering())


def verdicts(findings: Findings) -> dict[tuple[str, str], bool]:
    """Whether each gate of the path holds, by its subject and statistic."""
    of_path = [gate for gate in findings.gates if gate.subject.startswith("a GPU")]
    assert all(isinstance(gate.verdict, (Passed, Failed)) for gate in of_path)
    assert len({(gate.subject, gate.statistic) for gate in of_path}) == len(of_path)
    return {(gate.subject, gate.statistic): isinstance(gate.verdict, Passed) for gate in of_path}


def failed(findings: Findings) -> set[tuple[str, str]]:
    return {each for each, holds in verdicts(findings).items() if not holds}


def said(findings: Findings) -> str:
    return " ".join(each for each in findings.not_checked if "a GPU" in each)


def test_rows_and_prompts_with_them_are_held_against_transformers(model: Model) -> None:
    findings = found(model, path_of(PlayedGpu(model).sensing()), "right")
    gates = verdicts(findings)
    assert all(gates.values())
    assert gates.keys() - {(OWN, LOST)} == {
        *((ROWS, statistic) for statistic in (RELATIVE, COSINE, LEFT_OVER)),
        (PROMPTS, LEFT_OVER),
        *((prompt, MEAN_KL) for prompt in (TEXT, IN_THE_MIDDLE, BEHIND, OWN)),
    }
    assert ((OWN, LOST) in gates) != ("is decided about no token of it" in said(findings))
    routes = {each.route for each in findings.comparisons if each.subject == "a GPU"}
    assert routes == {each.removeprefix("a GPU: ") for each in (TEXT, IN_THE_MIDDLE, BEHIND, OWN)}
    images = findings.towers["images"]
    (run,) = [each for each in images.runs if each.subject == "a GPU, a card"]
    (picture,) = run.samples
    assert picture.relative < 1e-3


def test_rows_that_stray_and_operations_left_over_fail(model: Model) -> None:
    gpu = PlayedGpu(model, factor=1.01, left_over=("GATHER (no)",))
    wrong = failed(found(model, path_of(gpu.sensing()), "wrong"))
    assert wrong - {(OWN, MEAN_KL)} == {(ROWS, RELATIVE), (ROWS, LEFT_OVER), (PROMPTS, LEFT_OVER)}


@pytest.mark.parametrize("session", [Senseless, WithoutBlocks])
def test_a_decoder_that_takes_rows_otherwise_fails_behind_them_and_not_on_text(
    session: type[EagerMultimodalSession], model: Model
) -> None:
    wrong = failed(found(model, path_of(PlayedGpu(model, session).sensing()), session.__name__))
    assert {(IN_THE_MIDDLE, MEAN_KL), (BEHIND, MEAN_KL), (OWN, MEAN_KL)} <= wrong
    assert {subject for subject, _ in wrong} == {IN_THE_MIDDLE, BEHIND, OWN}


def test_text_that_strays_fails_and_lets_nothing_else_stray_farther(model: Model) -> None:
    wrong = failed(found(model, path_of(PlayedGpu(model, scale=0.8).sensing()), "text"))
    assert {(TEXT, MEAN_KL), (IN_THE_MIDDLE, MEAN_KL), (BEHIND, MEAN_KL)} <= wrong


def test_a_path_that_crashes_fails_and_one_without_room_is_named(model: Model) -> None:
    crash, room = ExecutionFailed("it ended by SIGABRT"), BeyondAdapter("no buffer of that size")
    gpu = PlayedGpu(model)
    findings = found(model, path_of(gpu.sensing(rows=raising(crash), behind=raising(room))), "crash")
    assert verdicts(findings) == {(ROWS, "failures to run"): False}
    assert "SIGABRT" in said(findings)
    assert "no buffer of that size" in said(findings)
    findings = found(model, path_of(gpu.sensing(rows=raising(room), behind=raising(crash))), "room")
    assert verdicts(findings) == {(PROMPTS, "failures to run"): False}


def test_without_a_tower_the_decoder_is_given_transformers_rows(model: Model) -> None:
    sensing = PlayedGpu(model).sensing(rows=raising(BeyondAdapter("no room")))
    gates = verdicts(found(model, path_of(sensing, most_prefilled=32), "no-tower"))
    assert gates.keys() == {(PROMPTS, LEFT_OVER), (TEXT, MEAN_KL), (IN_THE_MIDDLE, MEAN_KL)}


def test_prompts_that_take_many_minutes_are_left_out_from_the_end(model: Model) -> None:
    work = 5e7  # multiplications: of the text (1.4e7), and of a picture in the middle of it (2.2e7)
    findings = found(model, path_of(PlayedGpu(model).sensing(work)), "slow")
    assert {(TEXT, MEAN_KL), (IN_THE_MIDDLE, MEAN_KL)} <= verdicts(findings).keys()
    assert (BEHIND, MEAN_KL) not in verdicts(findings)
    assert "not tried, as they take what computes here many minutes: picture in the middle, rows" in said(
        findings
    )


def test_prompts_that_a_graph_has_no_room_for_are_named_and_nothing_is_compared(model: Model) -> None:
    gpu = PlayedGpu(model)

    def full(order: SensingOrder, prompts: tuple[FedPrompt, ...]) -> BehindAnswer:
        answer = gpu.behind(order, prompts)
        return replace(answer, logits=(answer.logits[0], *(each[:0] for each in answer.logits[1:])))

    findings = found(model, path_of(gpu.sensing(behind=full)), "full")
    assert {subject for subject, _ in verdicts(findings)} == {ROWS, PROMPTS}
    assert "picture in the middle was not tried: its graph has no room for such a prompt" in said(findings)
    assert not any(each.subject == "a GPU" for each in findings.comparisons)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sensing": None}, "pictures were not given to it, only text"),
        ({"missing": lambda: "no card"}, ""),
        ({"refused": frozenset({"int8-channel"})}, "it holds int8-channel, and it takes none"),
    ],
)
def test_what_is_not_tried_is_named(changes: dict[str, Any], words: str, model: Model) -> None:
    sensing = PlayedGpu(model).sensing(
        rows=raising(ExecutionFailed("it is not for it")), behind=raising(ExecutionFailed("nor this"))
    )
    findings = found(model, replace(path_of(sensing), **changes), words[:9] or "absent")
    assert verdicts(findings) == {}
    assert words in said(findings)
    assert bool(said(findings)) == bool(words)


def test_work_beyond_minutes_is_not_begun(model: Model) -> None:
    sensing = PlayedGpu(model).sensing(
        10.0, rows=raising(ExecutionFailed("too long")), behind=raising(ExecutionFailed("too long"))
    )
    findings = found(model, path_of(sensing), "work")
    assert verdicts(findings) == {}
    assert "a picture of this tower takes what computes here many minutes" in said(findings)
    assert "not tried, as they take what computes here many minutes: the same text" in said(findings)
