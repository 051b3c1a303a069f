"""The first layer whose hidden state leaves tolerance, where an artifact's lowering failed.

The float twin's graph is executed once more and shows what enters each layer; transformers on the quantised
checkpoint shows the same. What leaves a layer enters the next one, so the first state that is off names the
layer before it. Run only after a failure: it costs a run of the twin and one of the reference. Not about
finding out that something is wrong (`twin_check`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.formats.family import Driver
from exporter.lowering.hidden_states import HiddenStates, HiddenStatesOrder, ShowsHiddenStates
from exporter.models.text.spec import ModelSpec
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.reference_states import reference_states
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.report import Gate
from exporter.validation.routes import turns_of
from exporter.validation.verdict import Failed, at_most
from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError

STATISTIC = "relative error of its hidden state"
FIRST = "first layer outside tolerance"


@dataclass(frozen=True)
class WrongState:
    """number: of the state: what enters layer `number`. error: of its worst position, as a share of the
    state's length."""

    number: int
    error: float


def name_first_layer(check: ArtifactCheck) -> None:
    """Put down where a failed lowering begins to be wrong; nothing where it did not fail."""
    failed = any(
        gate.kind == "lowering"
        and gate.artifact == check.artifact.path
        and isinstance(gate.verdict, Failed)
        for gate in check.findings.gates
    )
    if not failed or not isinstance(check.lowering, ShowsHiddenStates):
        return
    looked: list[str] = []
    for driver in check.drivers:
        try:
            found = _first_wrong(check, check.lowering, driver)
        except (LoweringError, ArtifactError, SessionError, RuntimeUnavailable) as error:
            check.remark(f"the search for the first wrong layer, {driver.arithmetic}", error)
            return
        if found is not None:
            _put_down(check, driver, found)
            return
        looked.append(driver.arithmetic)
    check.findings.not_checked.append(
        f"{check.artifact.path}: lowering failed, and no layer's hidden state leaves tolerance in "
        f"{' or '.join(looked)}: look behind the last layer, at the final norm and the head."
    )


def _put_down(check: ArtifactCheck, driver: Driver, wrong: WrongState) -> None:
    layer, path = layer_before(check.spec, wrong.number), check.artifact.path
    verdict = at_most(wrong.error, driver.state_limit, "")
    subject = f"{driver.arithmetic}: {FIRST}: {layer}"
    check.findings.gates.append(Gate("lowering", path, subject, STATISTIC, verdict))
    check.findings.remarks.append(
        f"{path}, {driver.arithmetic}: {FIRST}: {layer}. What leaves it strays by {wrong.error:.2g} of its "
        f"size from transformers on the quantised checkpoint, and {driver.state_limit:g} is allowed."
    )


def layer_before(spec: ModelSpec, number: int) -> str:
    """What a state comes out of: "model.layers.2" for what enters layer 3."""
    return "the embedding" if number == 0 else spec.layers[number - 1].prefix.removesuffix(".")


def _first_wrong(check: ArtifactCheck, lowering: ShowsHiddenStates, driver: Driver) -> WrongState | None:
    spec, release, artifact = check.spec, check.release, check.artifact
    tokens = check.text.tokens[:-1]
    order = HiddenStatesOrder(
        spec, driver.arithmetic, turns_of(len(tokens), artifact.prefill_chunk).segments, tokens
    )
    scale = 1.0 if check.family.stream is None else check.family.stream.scale(spec)
    with _room(check.scratch, (len(spec.layers) + 1, len(tokens), spec.hidden_size)) as (place, states):
        seen = lowering.hidden_states(release.directory, artifact, place, order, states)
        wrong: list[WrongState] = []

        def see(number: int, expected: NDArray[np.float32]) -> None:
            at = seen[number]
            if at.any() and not wrong:
                error = worst_error(expected[at], states[number, at] / np.float32(scale))
                if not error <= driver.state_limit:
                    wrong.append(WrongState(number, error))

        reference_states(UnpackedWeights(release.checkpoint), tokens, see, check.job.progress)
    return wrong[0] if wrong else None


def worst_error(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Length of the difference over length of the expected state, [tokens, hidden], at the position where
    it is largest. NaN where a number is not finite."""
    apart = np.linalg.norm(found.astype(np.float64) - expected, axis=-1)
    return float((apart / np.linalg.norm(expected.astype(np.float64), axis=-1)).max())


@contextmanager
def _room(scratch: Path, shape: tuple[int, int, int]) -> Iterator[tuple[Path, HiddenStates]]:
    """A directory, and an array on disk in it."""
    place = scratch / "hidden-states"
    place.mkdir()
    try:
        yield place, np.memmap(place / "states", np.float32, "w+", shape=shape)
    finally:
        shutil.rmtree(place)
