"""Names of models, recipes and files as nothing but text, in the Markdown and plain files of a release.

Such names are somebody's directory names: they may hold markup, line breaks and control characters. Not
about reports, which escape their own (`exporter.views`).
"""

from __future__ import annotations

import html
import re

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~&!]")


def plain(text: str) -> str:
    """On one line, and no HTML, also for those who look at a plain file in a browser."""
    return html.escape(_one_line(text), quote=False)


def markdown(text: str) -> str:
    """On one line, with Markdown's and HTML's own characters taken as characters."""
    return _SPECIAL.sub(lambda found: _written(found[0]), _one_line(text))


def code(text: str) -> str:
    """As code, in a paragraph or a table."""
    if re.search(r"[<>&`|\\]", text) is None:
        return f"`{_one_line(text)}`"
    return f"<code>{_SPECIAL.sub(lambda found: f'&#{ord(found[0])};', _one_line(text))}</code>"


def _written(special: str) -> str:
    return html.escape(special, quote=False) if special in "<>&" else f"\\{special}"


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))
