"""HTML and SVG elements built so that text is always escaped: only `Html` goes in unescaped.

Not about what a page says or looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

# Control characters HTML may not hold; line breaks and tabs it may.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_VOID = frozenset({"meta"})


class Html(str):
    """Markup. Made by `tag`, `join` and, for fixed text of our own, directly."""

    __slots__ = ()


Child = str | Html | Iterable["Child"] | None


def escaped(content: str) -> Html:
    """Text as markup that shows exactly it; control characters become U+FFFD."""
    return Html(escape(_CONTROL.sub("\ufffd", content), quote=True))


def join(*children: Child) -> Html:
    """Children one after the other; None adds nothing, strings are escaped."""
    parts: list[str] = []
    for child in children:
        match child:
            case None:
                continue
            case Html():
                parts.append(child)
            case str():
                parts.append(escaped(child))
            case _:
                parts.append(join(*child))
    return Html("".join(parts))


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Html:
    """An element. Underscores in attribute names become hyphens ("class_" is "class"); None: left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")
