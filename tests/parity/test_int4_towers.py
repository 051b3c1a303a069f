"""Image towers whose linears have 4-bit codes, by a rule of the recipe, in every format that carries them.

Matrix: formats x (SigLIP with a scale for each row, Gemma 4's tower with one for each 32 inputs), against
transformers' tower on the same quantised weights. Not asserted here: what 4 bits cost a tower.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import PlanError
from exporter.formats.rows_driver import ROWS_LIMITS, TWIN_ROWS
from exporter.lowering.coreml.tower_package import ordered_towers, write_tower
from exporter.lowering.interface import ImageOrder, LoweringOrder, MakesTowerTwins
from exporter.lowering.table import lowerings_for
from exporter.planning.recipe import Rule, load_recipe
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.reference_tower import ReferenceTower
from exporter.reference.weights import OriginalWeights
from exporter.schemes import INT4_G32
from exporter.validation.rows_apart import rows_apart
from exporter.validation.stored_weights import differing_by_matrix
from runtimes.encoder import EncodedRows
from runtimes.formats import Format
from runtimes.manifest import Artifact
from runtimes.open import IMAGE_ENCODERS, open_image_encoder
from runtimes.opening import EncoderOpening
from tests.fakes import silent
from tests.jobs import a_plan, a_variant
from tests.seen_pictures import picture, processing_of
from tests.tiny_image_stores import tiny_image_store, write_tiny_multimodal
from tests.tiny_releases import lowering_order

CONTEXT, CHUNK = 192, 16
TOWERS = {"Gemma 3": "int4-channel", "Gemma 4 31B": "int4-g32"}
APART = 0.1  # of 4-bit towers from the original ones, at least, so that which of the two ran is seen


@pytest.fixture(scope="module", params=TOWERS)
def order(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoweringOrder:
    directory = tmp_path_factory.mktemp("int4")
    checkpoint = tiny_image_store(directory, request.param, of_tower=TOWERS[request.param])
    images = ImageOrder(processing_of(checkpoint.components["vision"].spec))
    given = {"context": CONTEXT, "prefill_chunk": CHUNK, "images": images}
    order = lowering_order(checkpoint, directory, **given)
    return replace(order, tokenizer=directory / "checkpoint")  # which knows the tokens around an image


def tower_rows(opening: EncoderOpening, order: LoweringOrder) -> EncodedRows:
    with open_image_encoder(opening) as encoder:
        return encoder.rows(picture(order.checkpoint.components["vision"].spec))


@pytest.mark.parametrize("form", IMAGE_ENCODERS)
def test_a_tower_of_4_bits_makes_the_rows_that_transformers_makes_of_its_codes(
    form: Format, order: LoweringOrder, tmp_path: Path
) -> None:
    spec = order.checkpoint.components["vision"].spec
    (lowering,) = lowerings_for([form]).values()
    release, twin = tmp_path / "release", tmp_path / "twin"
    release.mkdir()
    twin.mkdir()
    (encoder,) = lowering.encoders(order)
    if form == "coreml":  # whose decoder takes long, and is not about it
        (tower,) = ordered_towers(order)
        write_tower(tower, release / encoder.path, order, silent)
        artifact = Artifact("text", form, encoder.decoder, CONTEXT, 0, CHUNK, "all")
    else:
        (artifact,) = lowering.lower(order, release, silent)
        stored = lowering.read_back(release, replace(artifact, path=encoder.path))
        assert not differing_by_matrix(stored, order.checkpoint, "vision")
    opening = EncoderOpening(release, encoder, artifact, 2, "fp32")
    rows = tower_rows(opening, order)
    seen = picture(spec)
    expected = ReferenceTower(UnpackedWeights(order.checkpoint), spec).rows(seen)
    source = HuggingFaceSource.open(order.tokenizer)
    original = ReferenceTower(OriginalWeights(source), spec).rows(seen)
    assert rows_apart(original, expected).relative > APART
    found = rows_apart(expected, rows)
    assert found.relative < ROWS_LIMITS["fp32"].relative
    assert found.cosine > ROWS_LIMITS["fp32"].cosine
    if isinstance(lowering, MakesTowerTwins):
        made = lowering.tower_twin(release, encoder, twin)
        again = tower_rows(replace(opening, release=twin, encoder=made), order)
        assert rows_apart(expected, again).relative < TWIN_ROWS["fp32"].relative


@pytest.mark.parametrize("form", ["litertlm", "onnx", "coreml"])
def test_blocks_that_a_tower_does_not_divide_into_are_refused(form: Format, tmp_path: Path) -> None:
    source = HuggingFaceSource.open(write_tiny_multimodal(tmp_path, "Gemma 3"))
    rule = Rule(("*.mlp.fc2.weight",), INT4_G32, "nearest", False, "a test's")
    recipe = replace(load_recipe("int8"), vision=(rule,))
    variant = replace(a_variant(recipe, (form,)), soft_tokens=4)
    with pytest.raises(PlanError, match="112 inputs do not divide into int4-g32's 32") as caught:
        a_plan(source, variant)
    assert caught.value.where.endswith("mlp.fc2.weight")
