"""The chat template of a Hub directory, out of the places it may lie in, and what of them was not taken.

Not about what a template renders (`turn_end`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import (
    ADDITIONAL_TEMPLATES,
    CHAT_TEMPLATE,
    PROCESSOR_TEMPLATE,
    TOKENIZER_CONFIG,
)
from exporter.errors import TokenizerError
from runtimes.excerpt import plain_excerpt

DEFAULT = "default"


@dataclass(frozen=True)
class FoundTemplate:
    """source: Jinja, None where there is no template. remarks: what was left aside, a sentence each."""

    source: str | None
    remarks: tuple[str, ...]


def read_chat_template(directory: CheckpointDirectory) -> str | None:
    """The Jinja source alone. Raises TokenizerError as `find_chat_template` does."""
    return find_chat_template(directory).source


def find_chat_template(directory: CheckpointDirectory) -> FoundTemplate:
    """chat_template.jinja, else tokenizer_config.json's, as transformers' tokenizers have it, else
    chat_template.json, where processors of transformers 4 put theirs.

    Of several named templates the one called "default" is taken, or the only one. Raises TokenizerError for
    several without a default, or what is no template.
    """
    places: dict[str, Mapping[str, str]] = {}
    if directory.has(CHAT_TEMPLATE):
        places[CHAT_TEMPLATE] = {DEFAULT: _text(directory, CHAT_TEMPLATE)}
    for name in (TOKENIZER_CONFIG, PROCESSOR_TEMPLATE):
        if directory.has(name) and (named := _named(directory, name)):
            places[name] = named
    taken = next(iter(places), None)
    source = None if taken is None else _default(directory, taken, places[taken])
    return FoundTemplate(source, tuple(_remarks(directory, taken, source, places)))


def _text(directory: CheckpointDirectory, name: str) -> str:
    path = directory.file(name)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(path, f"cannot be read as text ({error})", "fetch it again") from error


def _named(directory: CheckpointDirectory, name: str) -> Mapping[str, str]:
    """Templates by name; a single one is the default."""
    match directory.json(name).get("chat_template"):
        case None:
            return {}
        case str(source):
            return {DEFAULT: source}
        case list(entries):
            found = [_entry(entry) for entry in entries]
            if found and None not in found:
                return dict(each for each in found if each is not None)
        case dict(entries):
            if entries and all(isinstance(source, str) for source in entries.values()):
                return entries
    raise TokenizerError(
        directory.path / name,
        "chat_template is neither Jinja source nor a list of named templates",
        "fetch it again",
    )


def _entry(entry: object) -> tuple[str, str] | None:
    match entry:
        case {"name": str(name), "template": str(source)}:
            return name, source
    return None


def _default(directory: CheckpointDirectory, place: str, named: Mapping[str, str]) -> str:
    if DEFAULT in named:
        return named[DEFAULT]
    if len(named) == 1:
        return next(iter(named.values()))
    raise TokenizerError(
        directory.path / place,
        f"has the chat templates {plain_excerpt(', '.join(sorted(named)))} and none is called {DEFAULT}",
        f"write the one that is to be used to {CHAT_TEMPLATE} beside it",
    )


def _remarks(
    directory: CheckpointDirectory,
    taken: str | None,
    source: str | None,
    places: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    for place, named in places.items():
        others = sorted(name for name, template in named.items() if template != source)
        if not others:
            continue
        if place == taken:
            names = plain_excerpt(", ".join(others))
            yield f"Of the chat templates in {place}, these are not in the release: {names}."
        else:
            yield f"The chat template is that of {taken}; {place} has another, which was not taken."
    if taken is not None and DEFAULT not in places[taken]:
        only = plain_excerpt(next(iter(places[taken])))
        yield f"The only chat template, {only}, was taken as the default one."
    if directory.has(ADDITIONAL_TEMPLATES):
        none = "" if taken is not None else ", and there is no default one beside them"
        yield f"Templates in {ADDITIONAL_TEMPLATES} are not in the release{none}."


def write_chat_template(template: str | None, directory: Path) -> None:
    """Make `template` the one that is read from a tokenizer's directory, whatever that has; None: as it is.

    tokenizer_config.json is told too where it has another, as not every reader looks for the file.
    """
    if template is None or read_chat_template(CheckpointDirectory(directory)) == template:
        return
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    facts = CheckpointDirectory(directory).json(TOKENIZER_CONFIG)
    if "chat_template" in facts:
        path = directory / TOKENIZER_CONFIG
        path.write_text(json.dumps({**facts, "chat_template": template}, indent=1), encoding="utf-8")
