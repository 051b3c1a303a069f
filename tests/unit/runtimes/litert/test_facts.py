from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import pytest

from runtimes.errors import ArtifactError
from runtimes.litert.facts import SignatureShapes, session_facts

PLACES = {"input_pos": (8,), "mask": (1, 1, 8, 64), "kv_cache_k_0": (1, 1, 64, 32)}


def signature(*entries: str, logits: bool = False) -> SignatureShapes:
    inputs = {**PLACES, **dict.fromkeys(entries, (1, 8))}
    return SignatureShapes(inputs, {"logits": (1, 1, 512)} if logits else {})


def facts_of(
    prefill: SignatureShapes, decode: SignatureShapes, embedded: Set[str] = frozenset()
) -> tuple[int, int, int]:
    found = session_facts(Path("m"), {"prefill_8": prefill, "decode": decode}, embedded, "fp32")
    return found.vocab_size, found.context, found.prefill_chunk


def test_facts_are_what_the_signatures_say() -> None:
    assert facts_of(signature("tokens"), signature("tokens", logits=True)) == (512, 64, 8)
    rows = ("embeddings", "per_layer_embeddings")
    assert facts_of(signature(*rows), signature(*rows, logits=True), set(rows)) == (512, 64, 8)


@pytest.mark.parametrize(
    ("prefill", "decode", "complaint"),
    [
        (signature("tokens"), signature("tokens"), "decode lacks 'logits'"),
        (signature("tokens"), signature(logits=True), "decode lacks 'tokens'"),
        (signature(), signature("tokens", logits=True), "prefill_8 lacks 'tokens'"),
        (signature("tokens", "images"), signature("tokens", logits=True), "prefill_8 takes 'images'"),
        (signature("tokens"), signature("tokens", "images", logits=True), "decode takes 'images'"),
    ],
)
def test_a_graph_of_another_kind_is_refused(
    prefill: SignatureShapes, decode: SignatureShapes, complaint: str
) -> None:
    with pytest.raises(ArtifactError, match=complaint):
        facts_of(prefill, decode)


@pytest.mark.parametrize("names", [("decode",), ("prefill_8",), ("decode", "prefill_8", "prefill_16")])
def test_other_signatures_are_refused(names: tuple[str, ...]) -> None:
    signatures = dict.fromkeys(names, signature("tokens", logits=True))
    with pytest.raises(ArtifactError, match="has signatures"):
        session_facts(Path("m"), signatures, frozenset(), "fp32")
