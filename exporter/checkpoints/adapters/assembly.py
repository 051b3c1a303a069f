"""`assemble`: what an adapter makes of a base, checked whole before anything is computed.

Not about what lies beside the weights (`beside`), nor a source by itself (`source`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from exporter.checkpoints.adapters.adapter_config import AdapterConfig
from exporter.checkpoints.adapters.adapter_tensors import (
    AdapterTensors,
    Part,
    left_out_shapes,
    sort_tensors,
)
from exporter.checkpoints.adapters.fitting import ANOTHER_BASE, FACTORS, SAVE_AGAIN, WeightParts, fit
from exporter.checkpoints.adapters.merged_weights import WeightRows
from exporter.checkpoints.adapters.selection import (
    is_adapted,
    is_saved_whole,
    module_of,
    spellings,
    trained_tokens,
)
from exporter.checkpoints.adapters.tying import HEAD, EmbeddingAndHead, TiedPair, apart
from exporter.checkpoints.files.checkpoint_directory import plain_name
from exporter.checkpoints.files.safetensors_file import SafetensorsFile
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.multimodal import IMAGE_PARTS, SOUND_PARTS
from exporter.checkpoints.text_tensors import describe_left_out
from exporter.errors import CheckpointError
from exporter.models.components import towers_of
from exporter.models.text.spec import ModelSpec, Role, WeightSpec

FIRST_FACTOR = ".lora_A."  # begun at random, it changes nothing by itself
WHOLE_PARTS = (Part.WHOLE, Part.COPY, Part.ORIGINAL)


@dataclass(frozen=True)
class Merge:
    """weights: those that are not the base's, by name. spec: of the model they make. left_out, remarks: as
    `CheckpointSource` has them."""

    weights: Mapping[str, WeightRows]
    spec: ModelSpec
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


def assemble(
    base: CheckpointSource, spec: ModelSpec, config: AdapterConfig, file: SafetensorsFile
) -> Merge:
    """(1) sort the tensors by weight, (2) count the vocabulary, (3) fit each weight's parts to it, (4) hold
    them against what the config promises, (5) settle embedding and head, (6) look for a change.

    spec: the base's text model's. Reads every tensor once. Raises CheckpointError for an adapter that is
    not the base's, contradicts itself, has numbers that are not finite, or changes nothing.
    """
    # (1)
    tensors = sort_tensors(file, spec)
    if towers_of(base.components):
        _require_tower_as_it_is(tensors)
    _require_text(tensors)
    known = _weights(spec)
    if unknown := [name for name in tensors.parts if name not in known]:
        raise CheckpointError(
            file.path, f"it adapts {unknown[0]:.200}, which {base.name} does not have", ANOTHER_BASE
        )
    # (2)
    rows = _vocabulary_size(tensors, spec)
    known = {name: _with_rows(weight, rows) for name, weight in known.items()}
    # (3)
    tied = {HEAD: spec.embedding_name} if spec.tied_embedding else {}
    parts = {name: fit(tensors, known[name], config, tied.get(name)) for name in tensors.parts}
    # (4)
    _require_promised(tensors, config, known, spec)
    # (5)
    vocabulary = _vocabulary(base, spec, config, file, known, parts)
    others = (each for name, each in parts.items() if name not in (spec.embedding_name, HEAD))
    weights = {**vocabulary.weights, **apart(base, *others).weights}
    merged = _merged_spec(spec, rows, vocabulary.untied)
    _require_all_rows(base, file, merged, weights)
    # (6)
    changed = [each.changes() for each in parts.values()]  # each of them reads its numbers
    if not any(changed):
        raise CheckpointError(
            file.path.parent,
            "the adapter changes no weight: every update is zero",
            "it was never trained or not saved; give a trained adapter, or export the base without it",
        )
    left_out = {
        f"the adapter's part of the {kind}": tuple(names) for kind, names in tensors.left_out.items()
    }
    return Merge(
        weights,
        merged,
        describe_left_out(left_out, left_out_shapes(tensors)),
        tuple(_remarks(base, spec, merged, config, tensors)),
    )


def _weights(spec: ModelSpec) -> dict[str, WeightSpec]:
    """Every weight an adapter may hold something of: a tied head is one too."""
    found = {weight.name: weight for weight in spec.weights()}
    embedding = found[spec.embedding_name]
    return {HEAD: WeightSpec(HEAD, embedding.shape, Role.HEAD), **found}


def _with_rows(weight: WeightSpec, rows: int) -> WeightSpec:
    if weight.role not in (Role.EMBEDDING, Role.HEAD):
        return weight
    return replace(weight, shape=(rows, *weight.shape[1:]))


def _require_tower_as_it_is(tensors: AdapterTensors) -> None:
    """Raise CheckpointError for an adapter that changes a tower: half of what was trained would be
    exported, and compared with that half. Factors as peft begins them, the second all zero, change nothing.
    """
    file = tensors.file
    for kind in (*IMAGE_PARTS, *SOUND_PARTS):
        for name in tensors.left_out.get(kind, ()):
            if FIRST_FACTOR not in name and any(file.read_bytes(name, 0, file.tensors[name].nbytes)):
                raise CheckpointError(
                    file.path,
                    f"the adapter changes the {kind} ({name:.200}), and is merged into text models alone",
                    "export what peft's merge_and_unload() makes of both, or give --components text",
                )


def _require_text(tensors: AdapterTensors) -> None:
    if tensors.parts:
        return
    if tensors.left_out:
        raise CheckpointError(
            tensors.file.path,
            f"the adapter changes nothing but the {', '.join(tensors.left_out)}, which is not exported",
            "export the base without it",
        )
    raise CheckpointError(tensors.file.path, "holds no tensor of an adapter", "save the adapter again")


def _vocabulary_size(tensors: AdapterTensors, spec: ModelSpec) -> int:
    """WeightRows of embedding and head: more than the base's where whole ones are stored that have more."""
    stored = [
        header.shape[0]
        for name in (spec.embedding_name, HEAD)
        for part, header in tensors.parts.get(name, {}).items()
        if part in WHOLE_PARTS and len(header.shape) == 2
    ]
    rows = max(stored, default=spec.vocab_size)
    if rows <= spec.vocab_size:
        return spec.vocab_size
    if spec.per_layer_embedding is not None:
        raise CheckpointError(
            tensors.file.path,
            f"its vocabulary has {rows} entries, the base's {spec.vocab_size}, and the added rows of "
            f"{spec.per_layer_embedding_name} are not in it",
            "merge it where it was trained and export the result",
        )
    return rows


def _merged_spec(spec: ModelSpec, rows: int, untied: bool) -> ModelSpec:
    return replace(spec, vocab_size=rows, tied_embedding=spec.tied_embedding and not untied)


def _require_promised(
    tensors: AdapterTensors, config: AdapterConfig, known: Mapping[str, WeightSpec], spec: ModelSpec
) -> None:
    """Raise CheckpointError where adapter_config.json names something trained that is not in the file."""
    met = set()
    embedding = _names(tensors, spec.embedding_name)
    for name in known:
        names, parts = _names(tensors, name), tensors.parts.get(name, {})
        mirrors = spec.tied_embedding and name == HEAD  # what was trained may be the embedding's part
        mirrored_whole = mirrors and config.tied and is_saved_whole(config, embedding)
        there = bool({Part.WHOLE, Part.COPY} & parts.keys()) or mirrored_whole
        if is_saved_whole(config, names) and not there:
            raise _missing(tensors, "modules_to_save", name)
        if tokens := trained_tokens(config, names):
            met.add(tokens)
            if Part.TOKENS not in parts and not (mirrors and tokens == trained_tokens(config, embedding)):
                raise _missing(tensors, "trainable_token_indices", name)
    if strange := [module for module, tokens in config.tokens.items() if tokens not in met]:
        raise CheckpointError(
            tensors.file.path,
            f"trainable_token_indices names {strange[0]:.200}, which the base does not have",
            ANOTHER_BASE,
        )


def _names(tensors: AdapterTensors, weight: str) -> tuple[str, ...]:
    return spellings(weight, tensors.spelled.get(weight, ()))


def _missing(tensors: AdapterTensors, key: str, name: str) -> CheckpointError:
    return CheckpointError(
        tensors.file.path,
        f"{key} of adapter_config.json names {module_of(name)}, and what was trained of it is missing",
        f"the adapter is incomplete; fetch it again, or {SAVE_AGAIN}",
    )


def _vocabulary(
    base: CheckpointSource,
    spec: ModelSpec,
    config: AdapterConfig,
    file: SafetensorsFile,
    known: Mapping[str, WeightSpec],
    parts: Mapping[str, WeightParts],
) -> EmbeddingAndHead:
    embedding, head = (parts.get(name) or WeightParts(known[name]) for name in (spec.embedding_name, HEAD))
    if spec.tied_embedding:
        return TiedPair(base, config, file.path, embedding, head).vocabulary()
    return apart(base, embedding, head)


def _require_all_rows(
    base: CheckpointSource, file: SafetensorsFile, merged: ModelSpec, weights: Mapping[str, WeightRows]
) -> None:
    """Raise CheckpointError where the vocabulary grew, and the embedding or the head did not."""
    for name in (merged.embedding_name, merged.head_name):
        rows = weights[name].shape[0] if name in weights else base.tensors[name].shape[0]
        if rows != merged.vocab_size:
            raise CheckpointError(
                file.path,
                f"its vocabulary has {merged.vocab_size} entries, and {name} has {rows} rows",
                "save it again with save_embedding_layers=True, or merge it and export the result",
            )


def _remarks(
    base: CheckpointSource,
    spec: ModelSpec,
    merged: ModelSpec,
    config: AdapterConfig,
    tensors: AdapterTensors,
) -> Iterator[str]:
    """What a reader of the report should know of the merge, a sentence each."""
    if config.base is not None and plain_name(config.base) != base.name:
        yield f"adapter_config.json names {_short(config.base)}; the adapter is merged into {base.name}."
    if merged.vocab_size != spec.vocab_size:
        added = merged.vocab_size - spec.vocab_size
        yield f"The vocabulary has {merged.vocab_size} entries, {added} of them the adapter's."
    if merged.tied_embedding != spec.tied_embedding:
        yield (
            "Input embedding and head are one matrix in the base; the adapter was trained with them apart, "
            "and they are two in the release."
        )
    bare = [
        name
        for name, weight in _weights(spec).items()
        if (name in tensors.parts or name != HEAD or not spec.tied_embedding)
        and not set(FACTORS) & tensors.parts.get(name, {}).keys()
        and is_adapted(config, weight, _names(tensors, name))
    ]
    if bare:
        yield (
            f"The adapter holds no factors of {len(bare)} of the matrices its target_modules mean "
            f"({bare[0]} first): they are the base's."
        )


def _short(reference: str) -> str:
    """A model as its trainer named it, in plain letters: a Hub's name whole, of a path the last word."""
    name = reference if reference.count("/") == 1 else reference.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w./-]+", "-", name)[:200]
