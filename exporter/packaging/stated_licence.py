"""The licence a checkpoint states itself: in the front matter of its README.md, or by its LICENSE file.

A fine-tune may be under other terms than the family it comes from (MedGemma is). Not about what a licence
asks for (`licences`). Values are kept to plain letters: they end up in other people's front matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import MODEL_CARD

MOST_READ = 1 << 16  # bytes of a README: its front matter comes first
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,99}")
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'*+,;=%-]{1,300}")


@dataclass(frozen=True)
class StatedLicence:
    """identifier: as the Hub spells it ("mit", "other"). name, link: of one that it has no identifier for.

    file: where it is stated.
    """

    identifier: str
    name: str | None
    link: str | None
    file: str

    @property
    def title(self) -> str:
        named = self.name if self.name is not None else self.identifier
        title = f"the licence “{named}”" if named != "other" else f"the licence in {self.file}"
        return title if self.link is None else f"{title} ({self.link})"

    @property
    def front_matter(self) -> tuple[str, ...]:
        """The lines of a model card that say it."""
        more = {"license_name": self.name, "license_link": self.link}
        named = tuple(f"{key}: {value}" for key, value in more.items() if value is not None)
        return (f"license: {self.identifier}", *named)


def read_stated_licence(documents: CheckpointDirectory) -> StatedLicence | None:
    """What README.md says; None where it says nothing, or nothing that is a licence's name."""
    if not documents.has(MODEL_CARD):
        return None
    with documents.file(MODEL_CARD).open("rb") as file:
        text = file.read(MOST_READ).decode("utf-8-sig", errors="replace")
    stated = _front_matter(text)
    identifier = _matched(_PLAIN, stated.get("license"))
    if identifier is None:
        return None
    name, link = _matched(_PLAIN, stated.get("license_name")), _matched(_LINK, stated.get("license_link"))
    return StatedLicence(identifier.lower(), name, link, MODEL_CARD)


def _front_matter(text: str) -> dict[str, str]:
    """Its keys at the margin; of a list, the first entry."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    found: dict[str, str] = {}
    last = ""
    for line in lines[1:]:
        if line.strip() == "---":
            return found
        key, colon, value = line.partition(":")
        if colon and re.fullmatch(r"[a-z_]+", key):
            last, found[key] = key, _unquoted(value)
        elif line.lstrip().startswith("- ") and found.get(last) == "":
            found[last] = _unquoted(line.lstrip()[2:])
    return {}


def _unquoted(value: str) -> str:
    """A scalar of YAML without its quotes, or without brackets and the comment behind it."""
    quoted = re.match(r"""(["'])(.*?)\1""", value.strip())
    return quoted[2] if quoted else re.split(r"(?:^|\s)#", value.strip())[0].strip(" []")


def _matched(pattern: re.Pattern[str], value: str | None) -> str | None:
    return value if value is not None and pattern.fullmatch(value) else None
