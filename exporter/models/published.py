"""The published Gemmas by id: the text models' config.json keys, specs, image towers and repositories.

Data is in published.toml. Not about names a user may give (`published_names`) or fetching weights.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from exporter.errors import UsageError
from exporter.models.audio.families import has_audio, read_audio
from exporter.models.audio.spec import AudioSpec
from exporter.models.text.families import read_spec
from exporter.models.text.families.attention import FULL, SLIDING
from exporter.models.text.spec import ModelSpec
from exporter.models.vision.families import read_vision
from exporter.models.vision.spec import VisionSpec

TABLE = Path(__file__).with_name("published.toml")

TOKEN_IDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
FIXED = {"attention_bias": False, "attention_dropout": 0.0, "tie_word_embeddings": True}
REPOSITORIES = ("pretrained", "instruct")
OURS = ("base", "tower", *REPOSITORIES)  # keys of the table that config.json does not have
SEES = "use_bidirectional_attention"
SOFTCAPS = ("attn_logit_softcapping", "final_logit_softcapping")


def published_ids() -> tuple[str, ...]:
    """Ids of the models the table knows, family by family."""
    return tuple(_table()["model"])


def repositories(model_id: str) -> tuple[str, str]:
    """Where the Hugging Face Hub has the model: pretrained, and instruction-tuned.

    Raises UsageError for an id that is not in the table.
    """
    entry = _entry(model_id)
    pretrained, instruct = (str(entry[key]) for key in REPOSITORIES)
    return pretrained, instruct


def published_config(model_id: str) -> dict[str, Any]:
    """config.json of the text model, as transformers' config class reads it.

    Raises UsageError for an id that is not in the table.
    """
    entry = _entry(model_id)
    base = _table()["base"][entry["base"]]
    config = {**base, **TOKEN_IDS, **FIXED, **{key: entry[key] for key in entry if key not in OURS}}
    if config["model_type"] == "gemma3_text":
        config.update(dict.fromkeys(SOFTCAPS))
    pattern = config.pop("sliding_window_pattern", 2 if config["model_type"] == "gemma2" else None)
    if pattern is not None:
        config["layer_types"] = [
            SLIDING if (index + 1) % pattern else FULL for index in range(config["num_hidden_layers"])
        ]
    return config


def published_spec(model_id: str) -> ModelSpec:
    """The spec of a published model. Raises UsageError for an unknown id."""
    return read_spec(published_config(model_id), f"published {model_id}")


def published_whole_config(model_id: str) -> dict[str, Any] | None:
    """config.json around the text_config of a published model that sees; None for one that does not.

    Raises UsageError for an id that is not in the table.
    """
    name = _entry(model_id).get("tower")
    if name is None:
        return None
    tower = dict(_table()["tower"][name])
    sees = tower.pop(SEES, None)
    return {
        **tower,
        "text_config": {**published_config(model_id), **({} if sees is None else {SEES: sees})},
    }


def published_vision(model_id: str) -> VisionSpec | None:
    """The image tower of a published model. Raises UsageError for an unknown id."""
    whole = published_whole_config(model_id)
    return None if whole is None else read_vision(whole, whole["text_config"], f"published {model_id}").spec


def published_audio(model_id: str) -> AudioSpec | None:
    """The audio encoder of a published model. Raises UsageError for an unknown id."""
    whole = published_whole_config(model_id)
    if whole is None or not has_audio(whole):
        return None
    return read_audio(whole, whole["text_config"], f"published {model_id}").spec


def _entry(model_id: str) -> Mapping[str, Any]:
    entry: Mapping[str, Any] | None = _table()["model"].get(model_id)
    if entry is None:
        raise UsageError(model_id, "is not a published Gemma", f"known are {', '.join(published_ids())}")
    return entry


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))
