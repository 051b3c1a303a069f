"""Reading config.json strictly: every key is read, known to be irrelevant, or refused.

Not about any architecture: the readers in `exporter.models.text.families` say which keys matter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.errors import SpecError

# Keys that say how a model was saved, trained or is sampled from: they change nothing we compute.
IRRELEVANT = frozenset(
    {
        "_attn_implementation_autoset",
        "_name_or_path",
        "architectures",
        "attention_dropout",
        "bos_token_id",
        "cache_implementation",
        "chunk_size_feed_forward",
        "dtype",
        "eos_token_id",
        "id2label",
        "initializer_range",
        "is_encoder_decoder",
        "label2id",
        "model_type",
        "output_attentions",
        "output_hidden_states",
        "pad_token_id",
        "problem_type",
        "quantization_config",
        "return_dict",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)


@dataclass
class StrictConfig:
    """One object of a config file. `where` names file and path in it for errors."""

    where: str
    raw: Mapping[str, Any]
    _read: set[str] = field(default_factory=set)

    def integer(self, key: str) -> int:
        """A positive integer."""
        value = self._required(key)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise self._wrong(key, value, "a positive integer")
        return value

    def number(self, key: str) -> float:
        """A positive number."""
        value = self._required(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise self._wrong(key, value, "a positive number")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """A positive number, or None where the key says null. An absent key is an error."""
        return None if self._required(key) is None else self.number(key)

    def boolean(self, key: str) -> bool:
        value = self._required(key)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def string(self, key: str) -> str:
        value = self._required(key)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        value = self._required(key)
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self._wrong(key, value, "a list of strings")
        return tuple(value)

    def child(self, key: str) -> StrictConfig:
        """A nested object, read as strictly."""
        value = self._required(key)
        if not isinstance(value, Mapping):
            raise self._wrong(key, value, "an object")
        return StrictConfig(f"{self.where}.{key}", value)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        self._read.add(key)
        return self.raw.get(key) is not None

    def expect(self, key: str, *allowed: object) -> None:
        """The key, where present, must hold one of these values: others are not implemented."""
        self._read.add(key)
        if key in self.raw and self.raw[key] not in allowed:
            raise self._wrong(key, self.raw[key], " or ".join(repr(value) for value in allowed))

    def ignore(self, *keys: str) -> None:
        """Keys this architecture carries but does not use."""
        self._read.update(keys)

    def refuse_unread(self) -> None:
        """Raise SpecError for a key nobody asked for: it may change what the model computes."""
        if unknown := sorted(set(self.raw) - self._read - IRRELEVANT):
            raise SpecError(
                self.where,
                f"unknown key {unknown[0]!r}",
                "this gemma-export does not know what it changes; use a newer version",
            )

    def _required(self, key: str) -> Any:
        self._read.add(key)
        if key not in self.raw:
            raise SpecError(
                self.where, f"key {key!r} is missing", "fetch the checkpoint's config.json again"
            )
        return self.raw[key]

    def _wrong(self, key: str, value: object, expected: str) -> SpecError:
        return SpecError(
            f"{self.where}.{key}",
            f"expected {expected}, got {value!r}",
            "fetch the checkpoint's config.json again",
        )


def load_config(path: Path) -> dict[str, Any]:
    """config.json as a dictionary. Raises SpecError when absent or not a JSON object."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpecError(path, "no such file", "give a directory with a config.json") from error
    except (OSError, ValueError) as error:
        raise SpecError(path, f"cannot be read as JSON ({error})", "fetch it again") from error
    if not isinstance(raw, dict):
        raise SpecError(path, "is not a JSON object", "fetch it again")
    return raw
