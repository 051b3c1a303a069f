"""What the readers of towers' configurations have in common: defaults filled in and told of, and refusals.

Not about any tower's keys (`vision.families`, `audio.families`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.errors import SpecError
from exporter.models.config import StrictConfig

FETCH = "correct it, or fetch the checkpoint's config.json again"


def with_defaults(raw: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`raw`, and of `defaults` what it has under neither of a key's names, or null."""
    missing = {key: value for key, value in defaults.items() if raw.get(key, raw.get(_by_id(key))) is None}
    return {**raw, **missing}


def remarks_on_defaults(taken: Mapping[str, Any]) -> tuple[str, ...]:
    """That these were taken, a sentence; nothing of nothing. taken: by key, as config.json has it."""
    if not taken:
        return ()
    listed = ", ".join(f"{key} ({value})" for key, value in taken.items())
    return (f"config.json leaves out what transformers has a default for, and that was taken: {listed}.",)


def require_fitting(holds: bool, config: StrictConfig, key: str, what: str) -> None:
    """Raise SpecError at the key unless it holds. what: what is wrong, in words."""
    if not holds:
        raise SpecError(f"{config.where}.{key}", what, FETCH)


def _by_id(key: str) -> str:
    """Some ids end in _index, and their class takes them for those that end in _id."""
    return f"{key.removesuffix('_index')}_id" if key.endswith("_index") else key
