"""Where a graph is cut: sizes, what is repeated, what crosses; and what cannot be cut."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporter.errors import LoweringError
from exporter.lowering.litert.reading import LiteRtFile
from exporter.lowering.litert.signatures import DECODE, prefill_name
from exporter.lowering.litert.twin.float_graph import FloatGraph, float_graph
from exporter.lowering.litert.twin.stages import Stage, StageShare, cut
from exporter.schemes import INT8_CHANNEL
from tests.tiny import tiny_gemma4_e2b
from tests.tiny_releases import CHUNK
from tests.unit.exporter.lowering.litert.tiny_releases import TinyRelease, lowered, quantized

PREFILL = prefill_name(CHUNK)
STAGE = 24 << 10
_Op = schema.BuiltinOperator


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> FloatGraph:
    """E2B's graph: 15 layers, the last 8 of which read the caches of layers 4 and 6."""
    directory = tmp_path_factory.mktemp("sharing")
    release = lowered(directory, quantized(directory, tiny_gemma4_e2b(), INT8_CHANNEL))
    return float_graph(LiteRtFile.open(release.path()), STAGE)


def both(graph: FloatGraph, budget: int = STAGE) -> tuple[Stage, ...]:
    return cut(graph, {PREFILL, DECODE}, budget)


def operators(graph: FloatGraph, part: StageShare) -> list[int]:
    return [graph.operator(node) for node in part.operators]


def caches(stages: Sequence[Stage], key: str) -> list[set[str]]:
    """Of each stage: the caches it carries."""
    parts = [stage.parts.get(key) for stage in stages]
    return [set() if part is None else set(part.inputs) & set(part.outputs) for part in parts]


def test_every_weight_is_in_one_stage_and_no_stage_is_too_large(sharing: FloatGraph) -> None:
    stages = both(sharing)
    assert sum(stage.nbytes for stage in stages) == sum(piece.nbytes for piece in sharing.pieces.values())
    assert max(stage.nbytes for stage in stages) <= STAGE
    assert len(stages) > 100


def test_a_stage_takes_as_many_weights_as_fit(sharing: FloatGraph) -> None:
    stages = both(sharing, 8 * STAGE)
    largest = max(piece.nbytes for piece in sharing.pieces.values())
    assert all(stage.nbytes <= 8 * STAGE for stage in stages)
    followed = [stage for stage, after in pairwise(stages) if stage.nbytes and after.nbytes]
    assert len(followed) > 10
    assert all(8 * STAGE - largest < stage.nbytes for stage in followed)


def test_a_stage_has_weights_or_caches(sharing: FloatGraph) -> None:
    kinds = [(stage.nbytes > 0, bool(stage.caches)) for stage in both(sharing, 1 << 30)]
    assert kinds == [(True, False), (False, True)] * 15 + [(True, False)]


def test_large_weights_are_cut_by_rows_that_cover_them(sharing: FloatGraph) -> None:
    rows: dict[str, list[tuple[int, int]]] = {}
    for piece in sharing.pieces.values():
        rows.setdefault(piece.matrix.name, []).append((piece.start, piece.stop))
    head = rows["model.embed_tokens.weight"]
    assert len(head) > 4
    for name, ranges in rows.items():
        assert [0, *(stop for _, stop in ranges)] == [
            *(start for start, _ in ranges),
            sharing.file.matrices[name].shape[0],
        ]


def test_a_table_that_is_only_looked_up_is_no_float_weight(sharing: FloatGraph) -> None:
    table = "model.embed_tokens_per_layer.weight"
    assert table in sharing.file.matrices
    assert table not in {piece.matrix.name for piece in sharing.pieces.values()}


def test_signatures_meet_a_cache_in_the_same_stages(sharing: FloatGraph) -> None:
    stages = both(sharing)
    of_prefill, of_decode = caches(stages, PREFILL), caches(stages, DECODE)
    assert of_prefill == of_decode, "a prefill would be lost on a decode step"
    names = {name for signature in sharing.signatures for name in signature.outputs.values()} - {"logits"}
    assert set().union(*of_decode) == names


def test_layers_that_share_a_cache_have_it_in_each_of_their_stages(sharing: FloatGraph) -> None:
    carried = caches(both(sharing), DECODE)
    counts = {layer: sum(f"kv_cache_k_{layer}" in stage for stage in carried) for layer in range(7)}
    assert min(counts[4], counts[6]) > 1
    assert {counts[layer] for layer in (0, 1, 2, 3, 5)} == {1}


def test_only_small_tensors_cross(sharing: FloatGraph) -> None:
    """No mask and no cache: what crosses is of the tokens' number, not of the context's."""
    for stage in both(sharing):
        for part in stage.parts.values():
            for name, index in part.inputs.items():
                if name.startswith("t") and name != "tokens":
                    shape = part.signature.tensors[index].shape
                    assert np.prod(shape) <= (CHUNK if part.signature.key == PREFILL else 1) * 1024
                    assert part.signature.tensors[index].type == schema.TensorType.FLOAT32


def test_rotations_are_looked_up_where_they_are_needed(sharing: FloatGraph) -> None:
    lookups = [operators(sharing, stage.parts[DECODE]).count(_Op.GATHER) for stage in both(sharing)]
    assert sum(lookups) > 20
    assert 0 in lookups


def test_a_signature_that_is_not_called_is_left_out(sharing: FloatGraph) -> None:
    assert all(set(stage.parts) == {DECODE} for stage in cut(sharing, {DECODE}, STAGE))
    only_prefill = cut(sharing, {PREFILL}, STAGE)
    assert all(set(stage.parts) == {PREFILL} for stage in only_prefill)
    assert len(only_prefill) < len(both(sharing)), "no head"


def test_signatures_with_another_order_of_weights_are_refused(sharing: FloatGraph) -> None:
    prefill, decode = sharing.signatures
    turned = list(prefill.operators)
    first, last = (
        [at for at, node in enumerate(turned) if sharing.operator(node) == _Op.FULLY_CONNECTED][place]
        for place in (0, -1)
    )
    turned[first], turned[last] = turned[last], turned[first]
    graph = replace(sharing, signatures=(replace(prefill, operators=turned), decode))
    with pytest.raises(LoweringError, match=f"signature {PREFILL} multiplies with its weights in another"):
        both(graph)


def test_a_cache_one_signature_makes_later_than_another_reads_it_is_refused(sharing: FloatGraph) -> None:
    prefill, decode = sharing.signatures
    names = {name: index for index, name in prefill.inputs.items()}
    changed = list(prefill.operators)
    early, late = (
        next(at for at, node in enumerate(changed) if node.inputs[0] == names[f"kv_cache_k_{layer}"])
        for layer in (0, 6)
    )
    changed[early] = copy.copy(changed[early])
    changed[early].inputs = changed[late].inputs.copy()
    changed[early].inputs[0] = names["kv_cache_k_0"]
    graph = replace(sharing, signatures=(replace(prefill, operators=changed), decode))
    with pytest.raises(LoweringError, match=f"signature {PREFILL} reads a result of a later stage"):
        both(graph)


def test_a_weight_in_an_unknown_operator_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    file = LiteRtFile.open(int8_release.path())
    for code in file.model.operatorCodes:
        if code.builtinCode == _Op.EMBEDDING_LOOKUP:
            code.builtinCode = _Op.TRANSPOSE
    with pytest.raises(LoweringError, match=r"embed_tokens\.weight is read by operator 39, which has no"):
        float_graph(file, STAGE)
