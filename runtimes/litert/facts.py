"""What a graph's signatures say of it, and whether it is one this driver can run.

Not about how they are read: from a compiled model (`session`), or from a file's bytes.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import ArtifactError
from runtimes.litert.attention_masks import CAUSAL, AttentionMasks
from runtimes.litert.calls import CACHE, DECODE, LOCAL_MASK, LOGITS, MASK, POSITIONS, PREFILL, TOKENS
from runtimes.session import SessionFacts

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SignatureShapes:
    """Shapes by name."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


def session_facts(
    path: Path,
    signatures: Mapping[str, SignatureShapes],
    embedded: Set[str],
    arithmetic: str,
    masks: AttentionMasks = CAUSAL,
) -> SessionFacts:
    """embedded: inputs that embedders fill. Raises ArtifactError naming `path` for any other graph."""
    prefills = [name for name in signatures if name.startswith(PREFILL)]
    chunk = prefills[0].removeprefix(PREFILL) if len(prefills) == 1 else ""
    if DECODE not in signatures or not chunk.isdecimal():
        raise ArtifactError(
            f"{path}: has signatures {sorted(signatures)}, expected {DECODE} and one {PREFILL}<n>; "
            "export it again"
        )
    given = {POSITIONS, MASK} | (embedded or {TOKENS})
    if masks.two:
        given.add(LOCAL_MASK)
    for name in (DECODE, *prefills):
        taken = {entry for entry in signatures[name].inputs if not entry.startswith(CACHE)}
        wanted = {LOGITS} - set(signatures[name].outputs) if name == DECODE else set[str]()
        if missing := (given - taken) | wanted:
            raise ArtifactError(f"{path}: signature {name} lacks {min(missing)!r}; export it again")
        if unknown := taken - given:
            raise ArtifactError(
                f"{path}: signature {name} takes {min(unknown)!r}, which nothing in the file gives; "
                "export it again"
            )
    return SessionFacts(
        runtime="LiteRT",
        version=importlib.metadata.version("ai-edge-litert"),
        arithmetic=arithmetic,
        vocab_size=signatures[DECODE].outputs[LOGITS][-1],
        context=signatures[DECODE].inputs[MASK][-1],
        prefill_chunk=int(chunk),
        prefill_logits="none",
    )
