"""The line of a JSON file that a key stands in, for messages that tell somebody to look there.

Not a JSON reader: the text is known to be JSON, and a key that is not found has no line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]:,]')


def line_of(text: str, path: Sequence[str]) -> int | None:
    """Line, from 1, of the last key reached by these keys from the top: ("text_config", "head_dim")."""
    wanted, at, last = list(path), [""], ""
    found = None
    for token in _TOKENS.finditer(text):
        match token.group():
            case "{" | "[":
                at.append("")
            case "}" | "]":
                at.pop()
            case ":":
                at[-1] = json.loads(last)
                if at[1:] == wanted:  # of a key that is there twice, readers take the last one
                    found = text.count("\n", 0, token.start()) + 1
            case ",":
                pass
            case string:
                last = string
    return found
