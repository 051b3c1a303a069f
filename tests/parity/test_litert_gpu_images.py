"""Bundles that see and hear on LiteRT's GPU accelerator, against transformers on the quantised weights.

Matrix: towers of SigLIP and Gemma 4 E2B in fp32 and fp16; every gate on rows and on prompts with them, of
a Gemma 3 that sees and of an E2B that hears, in both; a wrong constant of the E2B's masks in fp32. On a
software driver where there is no GPU. Not asserted: speed, other adapters.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.formats.execution_path import ExecutionPath, SensingOrder
from exporter.formats.litert import LITERT
from exporter.lowering.table import lowerings_for
from exporter.reference.reference_tower import ReferenceTower
from exporter.validation.gates import MEAN_KL
from exporter.validation.rows_apart import rows_apart
from exporter.validation.verdict import Passed
from runtimes.errors import EncoderError
from runtimes.multimodal.fed_prompt import FedPrompt, behind_each
from runtimes.open import open_multimodal_session
from tests.corruption.litert import flatten_row_constants
from tests.seeing_models import Sensing, hearing, seeing
from tests.seen_pictures import picture
from tests.tiny_releases import mean_kl
from tests.unit.exporter.lowering.litert.seeing_releases import SeeingBundle, prompt, seeing_bundle

PATHS = {path.name: path for path in LITERT.paths}
RINGED = 320  # of context: longer than the window and a call that an image lies in

pytestmark = pytest.mark.usefixtures("on_the_gpu")


@pytest.fixture(scope="module", params=["Gemma 3", "Gemma 4 E2B"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingBundle:
    return seeing_bundle(tmp_path_factory.mktemp("seeing"), request.param, context=RINGED)


@pytest.fixture(params=PATHS.values(), ids=list(PATHS))
def path(request: pytest.FixtureRequest) -> ExecutionPath:
    found: ExecutionPath = request.param
    if (reason := found.missing()) is not None:
        pytest.skip(reason)  # a failure in CI
    return found


def order(bundle: SeeingBundle, scratch: Path) -> SensingOrder:
    return SensingOrder(bundle.directory, bundle.encoder, bundle.artifact, scratch, 900)


def test_a_tower_is_accelerated_whole_and_makes_the_rows_that_transformers_makes(
    bundle: SeeingBundle, path: ExecutionPath, tmp_path: Path
) -> None:
    sensing, seen = path.sensing, picture(bundle.spec)
    assert sensing is not None
    other = replace(seen, pixels=np.flip(seen.pixels, 1).copy())
    answer = sensing.rows(order(bundle, tmp_path), (seen, other))
    assert answer.left_over == ()
    assert answer.device
    tower = ReferenceTower(bundle.weights, bundle.spec)
    apart = rows_apart(tower.rows(seen), answer.rows[0])
    assert apart.relative < sensing.relative
    assert apart.cosine > sensing.cosine
    assert rows_apart(tower.rows(seen), answer.rows[1]).relative > 4 * sensing.relative
    with pytest.raises(EncoderError, match="soft tokens"):
        sensing.rows(order(bundle, tmp_path), (replace(seen, soft_tokens=500),))


@pytest.mark.parametrize(("made", "kind"), [(seeing, "Gemma 3"), (hearing, "Gemma 4 E2B")])
def test_prompts_keep_every_gate_in_fp32_and_fp16(
    made: Callable[[Path, str], Sensing], kind: str, tmp_path: Path
) -> None:
    for path in PATHS.values():
        if (reason := path.missing()) is not None:
            pytest.skip(reason)
    model, (lowering,) = made(tmp_path, kind), lowerings_for(["litertlm"]).values()
    findings = model.findings(model.release(lowering, "release", "litertlm", chunk=16), lowering)
    for path in PATHS.values():
        gates = [gate for gate in findings.gates if gate.subject.startswith(path.title)]
        wrong = [gate for gate in gates if not isinstance(gate.verdict, Passed)]
        assert not wrong, findings.not_checked
        # Text alone, a sample in the middle with rows of either tower, and one behind a window.
        assert sum(gate.statistic == MEAN_KL for gate in gates) == 4


@pytest.mark.parametrize("bundle", ["Gemma 4 E2B"], indirect=True)
def test_a_mask_constant_of_one_axis_is_right_on_the_cpu_and_caught_behind_a_picture(
    bundle: SeeingBundle, tmp_path: Path
) -> None:
    """Of a window. Rings of a Gemma 3 that sees read it from the mask they are given."""
    path = PATHS["litert-gpu-fp32"]
    if (reason := path.missing()) is not None:
        pytest.skip(reason)
    assert path.sensing is not None
    wrong = replace(bundle, directory=tmp_path / "wrong")
    shutil.copytree(bundle.directory, wrong.directory)
    assert flatten_row_constants(wrong.path) > 0
    rows = np.random.default_rng(0).normal(0, 0.5, (4, 64)).astype(np.float32)
    tokens, placed = prompt([30], [rows], 60)
    asked = FedPrompt(tokens, tuple(placed), (24, 40), 52)
    with open_multimodal_session(bundle.opening) as session:
        (expected,) = behind_each(session, [asked], lambda said: None)
    with open_multimodal_session(wrong.opening) as session:
        (found,) = behind_each(session, [asked], lambda said: None)
    np.testing.assert_array_equal(found, expected)
    answer = path.sensing.behind(order(wrong, tmp_path), (asked,))
    assert answer.left_over == (), "it is taken whole, and wrong"
    assert mean_kl(expected, answer.logits[0]) > 100 * path.mean_kl_limit
