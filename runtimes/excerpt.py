"""What an error may repeat of the input it refuses: 200 characters at most, on one line.

A refused file is somebody else's text. Whole, it would bury the message in a terminal or a log.
"""

from __future__ import annotations

import reprlib

LONGEST = 200


def excerpt(value: object) -> str:
    """`repr` of a value, cut to `LONGEST`. Never fails, and takes no longer than what it shows."""
    if isinstance(value, str | bytes):
        return _cut(repr(value[: LONGEST + 1]))
    if isinstance(value, int) and value.bit_length() > 512:  # Python refuses to write out the longest
        return f"an integer of {value.bit_length()} bits"
    return _cut(_SHORT.repr(value))


def plain_excerpt(text: object) -> str:
    """A text, or what an error says, without quotes: its control characters escaped, cut to `LONGEST`."""
    start = str(text)[: LONGEST + 1]
    return _cut("".join(each if each.isprintable() else ascii(each)[1:-1] for each in start))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


class _Short(reprlib.Repr):
    """Few members of few levels: the rest would be cut anyway."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple, self.maxset = 3, 8, 16, 16, 16
        self.maxstring = self.maxother = LONGEST

    def repr_int(self, value: int, level: int) -> str:
        return excerpt(value) if value.bit_length() > 512 else repr(value)


_SHORT = _Short()
