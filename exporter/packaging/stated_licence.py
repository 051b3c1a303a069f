"""The licence a checkpoint states itself: in the front matter of its README.md, or by its LICENSE file.

A fine-tune may be under other terms than the family it comes from (MedGemma is). Not about what a licence
asks for (`licences`). Values are kept to plain letters: they end up in other people's front matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import MODEL_CARD
from exporter.packaging.front_matter import UnreadableFrontMatter, read_front_matter

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,99}")
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'*+,;=%-]{1,300}")


@dataclass(frozen=True)
class StatedLicence:
    """identifier: as the Hub spells it ("mit", "other"). name, link: of one that it has no identifier for.

    file: where it is stated. also: identifiers of further licences stated with it.
    """

    identifier: str
    name: str | None
    link: str | None
    file: str
    also: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        if self.also:
            named = " and ".join(f"“{each}”" for each in (self.identifier, *self.also))
            return f"the licences {named}"
        named = self.name if self.name is not None else self.identifier
        title = f"the licence “{named}”" if named != "other" else f"the licence in {self.file}"
        return title if self.link is None else f"{title} ({self.link})"

    @property
    def front_matter(self) -> tuple[str, ...]:
        """The lines of a model card that say it."""
        more = {"license_name": self.name, "license_link": self.link}
        named = tuple(f"{key}: {value}" for key, value in more.items() if value is not None)
        if self.also:
            return ("license:", *(f"- {each}" for each in (self.identifier, *self.also)), *named)
        return (f"license: {self.identifier}", *named)


def read_stated_licence(documents: CheckpointDirectory) -> StatedLicence | None:
    """What README.md says; None where it says nothing, or nothing that is a licence's name.

    A front matter that cannot be read may name any licence: it is "other".
    """
    try:
        stated = read_front_matter(documents)
    except UnreadableFrontMatter as error:
        names_one = re.search(r"licen[cs]e", error.text, re.IGNORECASE)
        return StatedLicence("other", None, None, MODEL_CARD) if names_one else None
    entries = stated.get("license")
    found = [_matched(_PLAIN, entry) for entry in (entries if isinstance(entries, list) else [entries])]
    identifiers = tuple(dict.fromkeys(each.lower() for each in found if each is not None))
    if not identifiers:
        return None
    name, link = _matched(_PLAIN, stated.get("license_name")), _matched(_LINK, stated.get("license_link"))
    return StatedLicence(identifiers[0], name, link, MODEL_CARD, identifiers[1:])


def _matched(pattern: re.Pattern[str], value: object) -> str | None:
    return value.strip() if isinstance(value, str) and pattern.fullmatch(value.strip()) else None
