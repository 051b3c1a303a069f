"""The front matter of a checkpoint's README.md, as whoever published it wrote it.

Not about what is taken from it (`stated_licence`, `origin`), or the front matter of our own card
(`catalogue`).
"""

from __future__ import annotations

import re
from typing import Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import MODEL_CARD

MOST_READ = 1 << 16  # bytes of a README: its front matter comes first
_FRONT_MATTER = re.compile(r"\s*---[ \t]*\r?\n(?P<yaml>.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)


class UnreadableFrontMatter(Exception):
    """A front matter that is no YAML. text: as it stands there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def read_front_matter(documents: CheckpointDirectory) -> dict[str, Any]:
    """Its keys in lower case; nothing where there is no README.md, no front matter, or no end of one.

    Raises UnreadableFrontMatter.
    """
    import yaml  # here: whoever runs a release has no need of it

    if not documents.has(MODEL_CARD):
        return {}
    with documents.file(MODEL_CARD).open("rb") as file:
        text = file.read(MOST_READ).decode("utf-8-sig", errors="replace")
    found = _FRONT_MATTER.match(text.removeprefix("\ufeff"))
    if found is None:
        return {}
    try:
        content = yaml.safe_load(found["yaml"])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnreadableFrontMatter(found["yaml"]) from error
    return {str(key).lower(): value for key, value in content.items()} if isinstance(content, dict) else {}
