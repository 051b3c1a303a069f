"""config.json of checkpoints that hold a text model among towers: Gemma 3 from 4B, Gemma 4.

Gives the text model's own configuration, and says what the towers' tensors are called. Not about the
numbers in it (`exporter.models.text.families`) or about where its tensors are (`text_tensors`).
Source: transformers 5.23 `configuration_gemma3.py`, `configuration_gemma4.py`,
`configuration_gemma4_unified.py` and the published config.json files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.refused import refuse_config
from exporter.models.text.families.attention import tied_embedding
from exporter.models.text.families.gemma3 import UNUSED_SOFTCAP
from exporter.models.text.families.limits import refuse_impossible_numbers
from exporter.models.transformers_defaults import fill_in
from runtimes.excerpt import excerpt
from runtimes.strict_json import parse_json_object

IMAGE_PARTS = ("vision tower", "vision projector", "vision embedder")
"""What makes the image tower, of the parts that families name."""
SOUND_PARTS = ("audio tower", "audio projector", "audio embedder")
"""The same of the audio encoder."""
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class Multimodal:
    """A family of checkpoints with towers.

    text_type: model_type of its text_config. architecture: transformers' class of the text model alone.
    parts: first word of a tower tensor's name, to what it is part of. other_keys: top-level keys of
    config.json that are about images and sound and change nothing in the text model.
    """

    text_type: str
    architecture: str
    parts: Mapping[str, str]
    other_keys: tuple[str, ...]


GEMMA3_KEYS = (
    "vision_config", "mm_tokens_per_image", "image_token_index", "boi_token_index", "eoi_token_index",
    "image_token_id", "boi_token_id", "eoi_token_id",
)  # fmt: skip
GEMMA4_KEYS = (
    "vision_config", "audio_config", "vision_soft_tokens_per_image", "image_token_id", "video_token_id",
    "audio_token_id", "boi_token_id", "eoi_token_id", "boa_token_id", "eoa_token_id", "eoa_token_index",
)  # fmt: skip

MULTIMODAL = {
    "gemma3": Multimodal(
        text_type="gemma3_text",
        architecture="Gemma3ForCausalLM",
        parts={"vision_tower": "vision tower", "multi_modal_projector": "vision projector"},
        other_keys=GEMMA3_KEYS,
    ),
    "gemma4": Multimodal(
        text_type="gemma4_text",
        architecture="Gemma4ForCausalLM",
        parts={
            "vision_tower": "vision tower",
            "embed_vision": "vision projector",
            "audio_tower": "audio tower",
            "embed_audio": "audio projector",
        },
        other_keys=GEMMA4_KEYS,
    ),
    # 12B has no towers, only embedders; transformers names the first differently in memory and on disk.
    "gemma4_unified": Multimodal(
        text_type="gemma4_unified_text",
        architecture="Gemma4UnifiedForCausalLM",
        parts={
            "vision_embedder": "vision embedder",
            "embed_vision": "vision embedder",
            "embed_audio": "audio embedder",
        },
        other_keys=GEMMA4_KEYS,
    ),
}


@dataclass(frozen=True)
class TextConfig:
    """What a config.json says of the text model.

    config: the text model's own, as transformers' class has it. where: its place, for errors.
    token_ids: where bos, eos and pad are looked up. family: None for a checkpoint of text alone. keys: what
    leads to it in the file. remarks: what config.json does not say, or says in vain, a sentence each.
    """

    config: Mapping[str, Any]
    where: str
    token_ids: Mapping[str, Any]
    family: Multimodal | None
    keys: tuple[str, ...]
    remarks: tuple[str, ...]


def read_text_config(raw: Mapping[str, Any], where: str, file: Path | None = None) -> TextConfig:
    """The text model's configuration, with the numbers that transformers' class has for keys left out.

    raw: config.json, loaded from the file `where`; `file` gives lines to errors. Raises SpecError for a
    model that is not exported, for a top-level key that is unknown, and for a text_config that is missing,
    another model's or impossible.
    """
    model_type = raw.get("model_type")
    family = MULTIMODAL.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        filled = fill_in(raw)
        remarks = (*filled.remarks, *_said_in_vain(raw))
        return TextConfig(filled.config, where, filled.config, None, (), remarks)
    refuse_config(raw, where)
    whole = StrictConfig(where, raw, file)
    whole.ignore(*family.other_keys)
    tied = tied_embedding(whole)
    text = whole.child("text_config")
    whole.refuse_unread()
    text.expect("model_type", family.text_type)
    refuse_impossible_numbers(text.raw, text.where)
    config = {
        **_as_transformers_reads_it(family.text_type, text),
        "architectures": [family.architecture],
        "tie_word_embeddings": tied,  # the head is the whole model's, and so is the decision to tie it
    }
    stated = {key: raw[key] for key in TOKEN_IDS if raw.get(key) is not None}
    filled = fill_in({**text.raw, "model_type": family.text_type, **stated})
    remarks = (*filled.remarks, *_said_in_vain(text.raw))
    return TextConfig(config, text.where, {**config, **stated}, family, text.keys, remarks)


def _said_in_vain(config: Mapping[str, Any]) -> tuple[str, ...]:
    cap = config.get(UNUSED_SOFTCAP)
    if config.get("model_type") != "gemma3_text" or cap is None:
        return ()
    return (
        f"config.json sets {UNUSED_SOFTCAP} to {excerpt(cap)}, which transformers' Gemma 3 does not apply: "
        "scores are not capped here either.",
    )


def _as_transformers_reads_it(model_type: str, text: StrictConfig) -> dict[str, Any]:
    """Every number of a text_config, and every key it has besides.

    Published text_configs leave out what equals the default of the class they were saved from, so that
    class has to fill them in: transformers is the only place these numbers are written down.
    """
    from transformers import AutoConfig  # here: it takes two seconds, and text checkpoints do without

    settings = {key: value for key, value in text.raw.items() if key != "model_type"}
    try:
        read = AutoConfig.for_model(model_type, **settings)
        found = parse_json_object(read.to_json_string())
    except Exception as error:  # its classes raise ValueError, KeyError, and their own plain Exceptions
        reason = " ".join(str(error).split())
        raise SpecError(
            text.where, f"transformers cannot read it ({reason})", "fetch config.json again"
        ) from error
    found.pop("transformers_version", None)  # whoever reads this again has not changed the model
    return found
