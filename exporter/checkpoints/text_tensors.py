"""The text model's tensors among all that a checkpoint stores: renamed, and the rest accounted for.

Checkpoints with towers name the text model's tensors in one of two ways, by the transformers that saved
them: `language_model.model.layers…` with `language_model.lm_head` (4.50, and on the Hub ever since for
Gemma 3), or `model.language_model.layers…` with `lm_head` (from 4.52; all of Gemma 4). Not about which
tensors the text model must have (`tensor_set`). Source: transformers `conversion_mapping.py`, "llava".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.checkpoints.multimodal import IMAGE_PARTS, Multimodal
from exporter.errors import CheckpointError
from exporter.models.text.spec import ModelSpec
from exporter.parameter_count import parameters

PREFIXES = {
    "language_model.model.": "model.",
    "language_model.lm_head.": "lm_head.",
    "language_model.": "model.",  # of a model saved without its head
    "model.language_model.": "model.",
    "lm_head.": "lm_head.",
}
HEAD, WHOLE = "lm_head", "model."
# Gemma 4 E2B and E4B are published with these of the layers that read another layer's cache;
# transformers drops them too (`_keys_to_ignore_on_load_unexpected`).
UNUSED = "unused key and value projections of layers that share a cache"
UNUSED_OF_A_LAYER = ("k_proj", "v_proj", "k_norm", "v_norm")
# What wraps a model in training (FSDP, DDP, torch.compile) puts these into names; no module is so called.
WRAPPERS = frozenset({"_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_orig_mod", "module"})
# Of any checkpoint, by transformers too: what it computes itself, and TRL's head that values what was said.
FREQUENCIES, FREQUENCY = (
    "rotary frequencies, which are computed",
    re.compile(r"(.*\.)?rotary_emb\w*\.\w*inv_freq"),
)
VALUE_HEAD, VALUES = "value head", "v_head"


@dataclass(frozen=True)
class TextTensors:
    """stored: canonical name to the name in the file. left_out: what the rest is, to their names."""

    stored: Mapping[str, str]
    left_out: Mapping[str, tuple[str, ...]]

    @property
    def of_images(self) -> dict[str, str]:
        """Of the image tower: from the first word that says so, to the name in the file."""
        names = (name for part in IMAGE_PARTS for name in self.left_out.get(part, ()))
        return {_unwrapped(name).removeprefix(WHOLE): name for name in names}

    @property
    def left_out_with_images(self) -> Mapping[str, tuple[str, ...]]:
        """What is left out of a model whose image tower is not."""
        return {part: names for part, names in self.left_out.items() if part not in IMAGE_PARTS}


def find_text_tensors(
    names: Iterable[str], spec: ModelSpec, family: Multimodal | None, where: object
) -> TextTensors:
    """Sort stored names. What is neither the text model's nor a known part is an error.

    A text model may be saved without its head, and then has no `model.` before its names. Of a checkpoint
    of text alone every other name is taken for canonical: `require_exactly` judges them. Raises
    CheckpointError naming a tensor that is unknown, or there twice under two names.
    """
    own = frozenset(_first_word(weight.name) for weight in spec.weights()) - {HEAD}
    unused = unused_projections(spec)
    stored: dict[str, str] = {}
    left_out: dict[str, list[str]] = {}
    for name in names:
        unwrapped = _unwrapped(name)
        part = _part_left_out(unwrapped, family)
        if part is not None:
            left_out.setdefault(part, []).append(name)
            continue
        canonical = _canonical(unwrapped, own, family, where)
        if canonical.startswith(unused):
            left_out.setdefault(UNUSED, []).append(name)
        elif canonical in stored:
            raise CheckpointError(
                where,
                f"tensors {stored[canonical]} and {name} are the same weight",
                "two checkpoints were mixed up; fetch it again",
            )
        else:
            stored[canonical] = name
    kinds = (*_kinds(family), UNUSED, FREQUENCIES, VALUE_HEAD)
    return TextTensors(stored, {kind: tuple(left_out[kind]) for kind in kinds if kind in left_out})


def unused_projections(spec: ModelSpec) -> tuple[str, ...]:
    """What the names of tensors that are stored and never used begin with."""
    return tuple(
        f"{layer.prefix}self_attn.{part}."
        for layer in spec.layers
        if not layer.owns_cache
        for part in UNUSED_OF_A_LAYER
    )


def describe_left_out(
    left_out: Mapping[str, tuple[str, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...]:
    """A phrase per part: "vision tower, 417 M parameters". shapes: by stored name."""
    return tuple(
        f"{kind}, {parameters(sum(math.prod(shapes[name]) for name in names))}"
        for kind, names in left_out.items()
    )


def _unwrapped(name: str) -> str:
    return ".".join(word for word in name.split(".") if word not in WRAPPERS)


def _part_left_out(name: str, family: Multimodal | None) -> str | None:
    """What a tensor is of that the text model does without, None for one it may need."""
    if name.partition(".")[0] == VALUES:
        return VALUE_HEAD
    if family is not None and (tower := family.parts.get(_first_word(name))) is not None:
        return tower
    return FREQUENCIES if FREQUENCY.fullmatch(name) else None


def _kinds(family: Multimodal | None) -> tuple[str, ...]:
    return () if family is None else tuple(dict.fromkeys(family.parts.values()))


def _first_word(name: str) -> str:
    return name.removeprefix("model.").partition(".")[0]


def _canonical(name: str, own: frozenset[str], family: Multimodal | None, where: object) -> str:
    """own: first words, behind `model.`, of the text model's weights."""
    if name.partition(".")[0] in own:
        return WHOLE + name
    if name.startswith(WHOLE) and _first_word(name) in own:
        return name
    found = _renamed(name)
    if found is None and family is None:
        return name
    if found is None:
        raise CheckpointError(
            where,
            f"tensor {name} is neither the text model's nor of a tower this version knows",
            "give the checkpoint as it was published, or use a newer gemma-export",
        )
    return found


def _renamed(name: str) -> str | None:
    for prefix, ours in PREFIXES.items():
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    return None
