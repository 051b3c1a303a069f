"""What a release says it was made from, in words that catalogues read: repository, relation, languages.

    (1) the repository whose snapshot the checkpoint is, in the Hub's cache
    (2) the published Gemma it is called after, where its architecture is that one's
    (3) what its own README.md calls its base

In (1) and (2) a release is that model quantised; in (3), and wherever an adapter was merged, it is one
fine-tuned from it. Not about the licence (`licences`), or how a card spells it (`catalogue`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import UsageError
from exporter.models.published import published_spec
from exporter.models.published_names import resolve_name
from exporter.packaging.front_matter import UnreadableFrontMatter, read_front_matter

Relation = Literal["quantized", "finetune"]
"""As the Hub spells them."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?|multilingual")


@dataclass(frozen=True)
class ModelOrigin:
    """name: the repository, or what the checkpoint is called. base, relation: None where nothing tells.
    itself: whether the checkpoint is the base's own files, and not somebody's copy, in whatever precision.

    languages: codes the checkpoint's own card states, often none.
    """

    name: str
    base: str | None
    relation: Relation | None
    languages: tuple[str, ...]
    itself: bool = False


def origin_of(source: CheckpointSource) -> ModelOrigin:
    """What is known of a checkpoint's origin."""
    directory = None if source.documents is None else CheckpointDirectory(source.documents)
    stated = _stated(directory)
    languages = _matching(_LANGUAGE, stated.get("language"))
    made: Relation = "quantized" if source.adapter is None else "finetune"
    # (1), (2)
    cached = _cached(directory)
    if (known := cached or _published(source)) is not None:
        alone = source.adapter is None
        name = known if alone else source.name
        return ModelOrigin(name, known, made, languages, itself=alone and cached is not None)
    # (3)
    if bases := _matching(_REPOSITORY, stated.get("base_model")):
        return ModelOrigin(source.name, bases[0], "finetune", languages)
    return ModelOrigin(source.name, None, None, languages)


def _cached(directory: CheckpointDirectory | None) -> str | None:
    repository = None if directory is None else directory.repository
    return repository if repository is not None and _REPOSITORY.fullmatch(repository) else None


def _published(source: CheckpointSource) -> str | None:
    try:
        named = resolve_name(source.name)
    except UsageError:
        return None
    if named is None or named.repository.rpartition("/")[2].lower() != source.name.lower():
        return None
    ours, theirs = source.components["text"].spec, published_spec(named.model)
    alike = ours.model_type == theirs.model_type and ours.parameter_count() == theirs.parameter_count()
    return named.repository if alike else None


def _stated(directory: CheckpointDirectory | None) -> Mapping[str, Any]:
    try:
        return {} if directory is None else read_front_matter(directory)
    except UnreadableFrontMatter:
        return {}


def _matching(pattern: re.Pattern[str], value: object) -> tuple[str, ...]:
    """Those of one or several words that are what they should be: they end up in other people's YAML."""
    words = value if isinstance(value, list) else [value]
    return tuple(word for word in words if isinstance(word, str) and pattern.fullmatch(word))
