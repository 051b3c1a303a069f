"""Files that are not what was planned, and files that are damaged, are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporter.errors import LoweringError
from exporter.lowering.litert.declarations import text
from exporter.lowering.litert.reading import LiteRtFile
from exporter.lowering.litert.signatures import DECODE, prefill_name
from exporter.lowering.litert.verification import verify_written
from exporter.lowering.litert.writing import IDENTIFIER
from exporter.models.text.spec import LayerSpec
from tests.tiny_releases import CHUNK, CONTEXT
from tests.unit.exporter.lowering.litert.tiny_releases import TinyRelease


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_what_was_written_is_what_was_planned(form: str, int4_release: TinyRelease) -> None:
    verify_written(int4_release.path(form), int4_release.checkpoint.matrices)


def slots(layer: LayerSpec) -> int:
    """Gemma 3's sliding layers have room for their window and a chunk."""
    return CONTEXT if layer.window is None else layer.window + CHUNK


def test_signatures_are_those_litert_lm_binds(int8_release: TinyRelease) -> None:
    model = LiteRtFile.open(int8_release.path()).model
    spec = int8_release.checkpoint.components["text"].spec
    caches = {
        f"kv_cache_{kind}_{layer.index}": shape
        for layer in spec.layers
        for kind, shape in (
            ("k", [1, layer.kv_heads, slots(layer), layer.head_dim]),
            ("v", [1, layer.kv_heads, layer.head_dim, slots(layer)]),
        )
    }
    for signature, count in zip(model.signatureDefs, (CHUNK, 1), strict=True):
        subgraph = model.subgraphs[signature.subgraphIndex]
        shapes = [
            {text(entry.name): subgraph.tensors[entry.tensorIndex].shape.tolist() for entry in entries}
            for entries in (signature.inputs, signature.outputs)
        ]
        plain = {"tokens": [1, count], "input_pos": [count], "mask": [1, 1, count, CONTEXT]}
        assert shapes[0] == {**plain, **caches}
        logits = {"logits": [1, 1, spec.vocab_size]} if count == 1 else {}
        assert shapes[1] == {**caches, **logits}
    names = [text(signature.signatureKey) for signature in model.signatureDefs]
    assert names == [prefill_name(CHUNK), DECODE]


def test_rope_and_cache_positions_are_computed_once_per_forward(int8_release: TinyRelease) -> None:
    model = LiteRtFile.open(int8_release.path()).model
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    sliding = sum(
        layer.window is not None for layer in int8_release.checkpoint.components["text"].spec.cache_layers
    )
    # Where keys and values begin, in whole caches and in rings; a ring is turned for a chunk instead.
    # Two kinds of RoPE have a cosine and a sine each.
    for subgraph, packed, gathered in zip(model.subgraphs, (2, 4), (2 * sliding + 4, 4), strict=True):
        operators = [
            names[model.operatorCodes[node.opcodeIndex].builtinCode] for node in subgraph.operators
        ]
        assert operators.count("FLOOR_MOD") == 2  # the slot written first, and every slot's age
        assert operators.count("PACK") == packed
        assert operators.count("GATHER") == gathered


def test_the_tied_embedding_is_stored_once(int8_release: TinyRelease) -> None:
    weights = sum(
        matrix.scheme.stored_bytes(matrix.shape) for matrix in int8_release.checkpoint.matrices.values()
    )
    file = LiteRtFile.open(int8_release.path())
    assert sum(matrix.span.nbytes for matrix in file.matrices.values()) < weights


def test_a_weight_in_float_is_refused_by_name(int8_release: TinyRelease, fp32_release: TinyRelease) -> None:
    with pytest.raises(LoweringError, match=r"embed_tokens\.weight was written as type 0"):
        verify_written(fp32_release.path(), int8_release.checkpoint.matrices)


def test_a_weight_left_as_an_input_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    def add_input(model: Any) -> None:
        subgraph = model.subgraphs[0]
        names = [text(tensor.name) for tensor in subgraph.tensors]
        weight = names.index("model.layers.0.mlp.up_proj.weight")
        subgraph.inputs = np.append(subgraph.inputs, np.int32(weight))

    damaged = _edited(int8_release, tmp_path, add_input)
    with pytest.raises(LoweringError, match=r"up_proj\.weight was left an input"):
        verify_written(damaged, int8_release.checkpoint.matrices)


def test_a_layer_that_reads_no_stored_weight_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    def misdirect(model: Any) -> None:
        subgraph = model.subgraphs[1]
        code = [code.builtinCode for code in model.operatorCodes].index(_FULLY_CONNECTED)
        node = next(node for node in subgraph.operators if node.opcodeIndex == code)
        node.inputs = np.array([node.inputs[0], 0, -1], np.int32)

    damaged = _edited(int8_release, tmp_path, misdirect)
    with pytest.raises(LoweringError, match="FULLY_CONNECTED of decode reads no stored weight"):
        verify_written(damaged, int8_release.checkpoint.matrices)


def test_a_mask_of_fewer_axes_than_its_positions_is_refused(
    int8_release: TinyRelease, tmp_path: Path
) -> None:
    """As masks were once: right on a CPU, and one age for every slot on a GPU."""

    def flatten(model: Any) -> None:
        subgraph = model.subgraphs[1]
        code = [code.builtinCode for code in model.operatorCodes].index(schema.BuiltinOperator.SUB)
        for node in subgraph.operators:
            if node.opcodeIndex == code:
                slots = subgraph.tensors[node.inputs[1]]
                if slots.type == schema.TensorType.INT32:
                    slots.shape = slots.shape[-1:]

    damaged = _edited(int8_release, tmp_path, flatten)
    with pytest.raises(
        LoweringError, match=r"SUB of decode broadcasts the integer constant .* over 4 axes"
    ):
        verify_written(damaged, int8_release.checkpoint.matrices)


def test_a_missing_weight_is_refused_by_name(int8_release: TinyRelease) -> None:
    extra = {**int8_release.checkpoint.matrices}
    extra["model.extra.weight"] = next(iter(extra.values()))
    with pytest.raises(LoweringError, match=r"model\.extra\.weight is not in the file"):
        verify_written(int8_release.path(), extra)


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_a_truncated_file_is_refused(form: str, int8_release: TinyRelease, tmp_path: Path) -> None:
    cut = tmp_path / f"cut.{form}"
    cut.write_bytes(int8_release.path(form).read_bytes()[:-100])
    with pytest.raises(LoweringError, match=r"past the end|a section lies"):
        LiteRtFile.open(cut)


def test_what_is_no_flatbuffer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"not a model at all")
    with pytest.raises(LoweringError, match="not a LiteRT flatbuffer"):
        LiteRtFile.open(path)


def test_a_flatbuffer_that_points_outside_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes((1 << 24).to_bytes(4, "little") + IDENTIFIER + bytes(64))
    with pytest.raises(LoweringError, match="points outside itself"):
        LiteRtFile.open(path)


_FULLY_CONNECTED = schema.BuiltinOperator.FULLY_CONNECTED


def _edited(release: TinyRelease, directory: Path, edit: Any) -> Path:
    """A copy of the .tflite whose flatbuffer was edited; weights lie where they lay."""
    import flatbuffers

    file = LiteRtFile.open(release.path())
    edit(file.model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(file.model.Pack(builder), IDENTIFIER)
    head = bytes(builder.Output())
    data = bytearray(release.path().read_bytes())
    first = min(matrix.span.begin for matrix in file.matrices.values())
    # Grow the file's front rather than overwrite weights: places are only compared, not read.
    data[:first] = head.ljust(first, b"\0")
    path = directory / "edited.tflite"
    path.write_bytes(data)
    return path
