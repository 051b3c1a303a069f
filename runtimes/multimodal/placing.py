"""Where the calls of a prompt with images and sounds begin and end, for drivers that may choose, and which
rows each has.

Not about what a call is given (each driver's), nor about drivers whose calls are of one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from runtimes.errors import SessionError
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.session import Tokens

ROWS_OF: Mapping[RowKind, str] = {"image": "an image", "sound": "a sound"}
SoftTokens = Mapping[RowKind, int]
"""The id that stands for a row, of each kind that a decoder takes."""


def calls_around(placed: Sequence[PlacedRows], tokens: int, chunk: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of each call: `chunk` tokens, fewer where an image would be cut, and as many as the
    image has where that is longer. Sounds are cut as text is: none of a sound's tokens sees a later one."""
    images = [each for each in placed if each.of == "image"]
    start = 0
    while start < tokens:
        stop = min(start + chunk, tokens)
        for image in images:
            if image.start < stop < image.stop:
                stop = image.start if image.start > start else image.stop
        yield start, stop
        start = stop


def rows_within(placed: Sequence[PlacedRows], start: int, stop: int) -> tuple[PlacedRows, ...]:
    """What of the rows lies in the tokens start to stop, counted from `start`."""
    found = []
    for each in placed:
        first, last = max(each.start, start), min(each.stop, stop)
        if first < last:
            rows = each.rows[first - each.start : last - each.start]
            found.append(PlacedRows(first - start, rows, each.of))
    return tuple(found)


def require_placed(tokens: Tokens, placed: Sequence[PlacedRows], soft: SoftTokens, width: int) -> None:
    """Raise SessionError unless rows, by their start, lie in the tokens, one behind the other, where the id
    that stands for their kind is and nowhere else, and have this width."""
    expected = np.isin(tokens, list(soft.values()))
    end = 0
    for number, each in enumerate(placed):
        name = f"{each.of} {number}"
        if each.of not in soft:
            raise SessionError(f"{name}: this decoder takes no {each.of}s; leave it out")
        if each.rows.ndim != 2 or each.rows.shape[1] != width or not len(each.rows):
            raise SessionError(
                f"{name} has rows {list(each.rows.shape)}, not [soft tokens, {width}]; "
                "encode it with the tower of this release"
            )
        if each.start < end or each.stop > len(tokens):
            raise SessionError(
                f"{name} takes tokens {each.start} to {each.stop} of {len(tokens)}, the one "
                f"before it ends at {end}; give places within the tokens, each to one of them"
            )
        id = soft[each.of]
        if not (tokens[each.start : each.stop] == id).all():
            raise SessionError(
                f"{name} stands where tokens are not {id}; write that id for each of its rows"
            )
        expected[each.start : each.stop] = False
        end = each.stop
    if expected.any():
        at = int(np.flatnonzero(expected)[0])
        kind = next(kind for kind, id in soft.items() if id == tokens[at])
        raise SessionError(
            f"token {at} is {int(tokens[at])}, which stands for one row of {ROWS_OF[kind]}, and none is "
            "there; give one, or leave the id out"
        )
