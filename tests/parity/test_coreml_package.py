"""The written Core ML package as others read it: coremltools, Apple's blob reader, our own reading back.

Not asserted here: what the program computes.
"""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.formats.coreml import STATE_MULTIPLE
from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.lowering.coreml.package import MODEL, WEIGHTS
from exporter.lowering.coreml.quiet import quietly
from exporter.quantization.store.checkpoint import FloatMatrix
from exporter.validation.stored_weights import differing_numbers
from tests.parity.coreml_packages import (
    CASES,
    CONTEXT,
    TEMPLATE,
    lowered,
)

with quietly():
    import coremltools
    from coremltools.libmilstoragepython import _BlobStorageReader


def operations(package: Path) -> Any:
    """The program's operations, parsed by coremltools."""
    spec = coremltools.utils.load_spec(str(package))
    function = spec.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


@pytest.mark.parametrize("family", CASES)
def test_every_matrix_reads_back_as_the_checkpoint_has_it(family: str) -> None:
    built = lowered(family)
    stored = CoreMlLowering().read_back(built.release, built.artifact)
    assert differing_numbers(stored, built.checkpoint) == 0


@pytest.mark.parametrize("family", ["Gemma 1", "Gemma 3"])
def test_apples_own_reader_finds_the_same_integers(family: str) -> None:
    built = lowered(family)
    reader = _BlobStorageReader(str(built.package / WEIGHTS))
    seen = 0
    for operation in operations(built.package):
        if not operation.type.startswith("const"):
            continue
        matrix = built.checkpoint.matrices.get(operation.outputs[0].name.replace("__", "."))
        if matrix is None:
            continue
        seen += 1
        rows = matrix.shape[0]
        if isinstance(matrix, FloatMatrix):
            at = operation.attributes["val"].blobFileValue.offset
            values = np.array(reader.read_fp16_data(at), np.uint16).view(np.float16)
            np.testing.assert_array_equal(values.reshape(matrix.shape), matrix.stored(0, rows))
            continue
        codes, scales = (
            operation.inputs[name].arguments[0].value.blobFileValue.offset for name in ("data", "scale")
        )
        read = reader.read_int8_data if matrix.scheme.bits == 8 else reader.read_int4_data
        np.testing.assert_array_equal(np.reshape(read(codes), matrix.shape), matrix.codes(0, rows))
        found = np.array(reader.read_fp16_data(scales), np.uint16).view(np.float16)
        np.testing.assert_array_equal(found.reshape(rows, -1), matrix.scales(0, rows))
    assert seen == len(built.checkpoint.matrices)


def test_coremltools_loads_it_with_the_names_and_ranges_of_swift_transformers() -> None:
    model = coremltools.models.MLModel(str(lowered("Gemma 3").package), skip_model_load=True)
    description = model.get_spec().description
    inputs = {entry.name: entry.type.multiArrayType.shapeRange.sizeRanges for entry in description.input}
    bounds = {
        name: [(axis.lowerBound, axis.upperBound) for axis in ranges] for name, ranges in inputs.items()
    }
    assert bounds == {
        "inputIds": [(1, 1), (1, CONTEXT)],
        "causalMask": [(1, 1), (1, 1), (1, CONTEXT), (1, CONTEXT)],
    }
    assert [entry.name for entry in description.output] == ["logits"]
    assert {entry.name for entry in description.state} >= {"keyCache", "valueCache"}
    assert model.get_spec().specificationVersion == 9, "iOS 18"


def test_sliding_layers_and_full_ones_of_another_shape_are_two_pairs_of_states() -> None:
    spec = coremltools.utils.load_spec(str(lowered("Gemma 4 12B").package))
    shapes = {entry.name: list(entry.type.stateType.arrayType.shape) for entry in spec.description.state}
    assert shapes == {
        "keyCache_32x2x32": [5, 1, 2, STATE_MULTIPLE, 32],
        "valueCache_32x2x32": [5, 1, 2, STATE_MULTIPLE, 32],
        "keyCache": [2, 1, 1, CONTEXT, 64],
        "valueCache": [2, 1, 1, CONTEXT, 64],
    }


def test_a_tied_embedding_is_stored_once_for_its_gather_and_its_linear() -> None:
    uses = collections.defaultdict(list)
    for operation in operations(lowered("Gemma 3").package):
        for binding in operation.inputs.values():
            for argument in binding.arguments:
                uses[argument.name].append(operation.type)
    assert sorted(uses["model__embed_tokens__weight"]) == ["gather", "linear"]


def test_every_product_with_a_weight_is_a_linear() -> None:
    built = lowered("Gemma 2")
    kinds = collections.Counter(operation.type for operation in operations(built.package))
    assert kinds["linear"] == len(built.checkpoint.matrices), "the tied head counts for the embedding"
    # Soft-capped attention is spelled out: two products a layer, neither with a weight.
    assert kinds["matmul"] == 2 * len(built.checkpoint.components["text"].spec.layers)


def test_no_constant_is_left_over() -> None:
    used: set[str] = set()
    names = []
    for operation in operations(lowered("Gemma 3").package):
        if operation.type == "const":
            names.append(operation.outputs[0].name)
        for binding in operation.inputs.values():
            used.update(argument.name for argument in binding.arguments)
    assert set(names) <= used


def test_no_constant_grows_with_the_square_of_the_context() -> None:
    for operation in operations(lowered("Gemma 3").package):
        value = operation.attributes["val"]
        sizes = [dimension.constant.size for dimension in value.type.tensorType.dimensions]
        assert sizes.count(CONTEXT) <= 1, operation.outputs[0].name


def test_the_tokenizer_lies_beside_the_package() -> None:
    beside = lowered("Gemma 3").package.parent
    assert {path.name for path in beside.iterdir()} == {
        "model.mlpackage",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "config.json",
    }
    assert (beside / "chat_template.jinja").read_text() == TEMPLATE
    assert json.loads((beside / "config.json").read_text())["model_type"] == "gemma3_text"


def test_the_description_claims_no_more_than_was_checked() -> None:
    metadata = coremltools.utils.load_spec(str(lowered("Gemma 3").package)).description.metadata
    assert "not on Apple hardware" in metadata.shortDescription
    assert metadata.userDefined["gemma-export.residual_scale"] == "0.0625"
    assert metadata.userDefined["co.huggingface.exporters.name"] == "owner/tiny-gemma"
    assert metadata.license.startswith("Gemma Terms of Use")
    assert not [key for key in metadata.userDefined if key.endswith("conversion_date")]


def test_the_twin_is_the_artifact_itself(tmp_path: Path) -> None:
    built = lowered("Gemma 3")
    twin = CoreMlLowering().float_twin(built.release, built.artifact, tmp_path)
    assert twin == built.artifact
    assert (tmp_path / twin.path / MODEL).read_bytes() == (built.package / MODEL).read_bytes()
