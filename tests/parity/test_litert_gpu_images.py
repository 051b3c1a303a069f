"""Bundles that see on LiteRT's GPU accelerator: their towers against transformers' on the same quantised
weights, and their text models, whose masks or rows know of images, against plain torch.

Matrix: towers of SigLIP and Gemma 4 E2B in fp32 and fp16; the text models behind them in fp32. On a
software driver where there is no GPU. Not asserted: prompts with images there, speed, other adapters.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.formats.execution_path import ExecutionPath, PathOrder, SeeingOrder
from exporter.formats.litert import LITERT
from exporter.reference.reference_tower import ReferenceTower
from exporter.validation.rows_apart import rows_apart
from runtimes.errors import EncoderError
from runtimes.images.prepared import PreparedImage
from tests.seen_pictures import picture
from tests.tiny_releases import eager_logits, mean_kl, some_tokens
from tests.unit.exporter.lowering.litert.seeing_releases import SeeingBundle, seeing_bundle

PATHS = {path.name: path for path in LITERT.paths}
RINGED = 320  # of context: longer than the window and a call that an image lies in
TOKENS, PREFILLED = some_tokens(60), 48

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


def order(bundle: SeeingBundle, scratch: Path, *pictures: PreparedImage) -> SeeingOrder:
    return SeeingOrder(bundle.directory, bundle.encoder, pictures, scratch, 900)


def test_a_tower_is_accelerated_whole_and_makes_the_rows_that_transformers_makes(
    bundle: SeeingBundle, path: ExecutionPath, tmp_path: Path
) -> None:
    seeing, seen = path.seeing, picture(bundle.spec)
    assert seeing is not None
    other = replace(seen, pixels=np.flip(seen.pixels, 1).copy())
    answer = seeing.run(order(bundle, tmp_path, seen, other))
    assert answer.left_over == ()
    assert answer.device
    tower = ReferenceTower(bundle.weights, bundle.spec)
    apart = rows_apart(tower.rows(seen), answer.rows[0])
    assert apart.relative < seeing.relative
    assert apart.cosine > seeing.cosine
    assert rows_apart(tower.rows(seen), answer.rows[1]).relative > 4 * seeing.relative
    with pytest.raises(EncoderError, match="soft tokens"):
        seeing.run(order(bundle, tmp_path, replace(seen, soft_tokens=500)))


def test_a_text_model_that_knows_of_images_is_accelerated_whole(
    bundle: SeeingBundle, tmp_path: Path
) -> None:
    path = PATHS["litert-gpu-fp32"]
    if (reason := path.missing()) is not None:
        pytest.skip(reason)
    asked = PathOrder(bundle.directory, bundle.artifact, TOKENS, PREFILLED, tmp_path, 900)
    answer = path.run(asked)
    assert answer.left_over == ()
    text = replace(bundle.checkpoint, components=replace(bundle.checkpoint.components, vision=None))
    assert mean_kl(eager_logits(text, TOKENS)[PREFILLED:], answer.logits) < path.mean_kl_limit
