"""Mutations of a sound file that keep most of its structure, so that damage gets past the first check.

Bytes: bits flipped, numbers put where lengths and offsets lie, pieces cut, doubled and moved. JSON: one
place of the tree replaced, removed or doubled. Not about any one format.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 62,
    2**64 - 1,
)
TEXTS = ("", "a" * 5000, "../../secret", "/etc/hostname", "a\0b", "\x1b[31m", "é", "NaN", "true", "9" * 30)
PLAIN: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    1 << 40,
    10**30,
    1.5,
    -0.0,
    1e300,
    [],
    {},
    [[]],
    [None],
    *TEXTS,
)
RAW = (
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 5000,
    "[" * 3000,
    '{"a":1,"a":2}',
    '"\\ud800"',
    "",
    "nul",
    '"',
    "\ufeff",
)
MARK = "the value that is replaced in the text"


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    """One to four mutations of the bytes; half of all places are in the first 512, where headers lie."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if not changed:
            return bytes(changed)
        at = chance.randrange(min(len(changed), 512) if chance.random() < 0.5 else len(changed))
        match chance.randrange(7):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at] = chance.randrange(256)
            case 2:
                width = chance.choice((1, 2, 4, 8))
                number = chance.choice(NUMBERS) % (1 << 8 * width)
                changed[at : at + width] = number.to_bytes(width, "little")
            case 3:
                del changed[at:]
            case 4:
                del changed[at : at + chance.randrange(1, 65)]
            case 5:
                changed[at:at] = changed[at : at + chance.randrange(1, 65)]
            case 6:
                other, width = chance.randrange(len(changed)), chance.choice((2, 4, 8))
                changed[at : at + width] = changed[other : other + width]
    return bytes(changed)


def damaged_json(value: Any, chance: random.Random) -> bytes:
    """One or two places of the tree changed; now and then, text there that no JSON library would write."""
    tree = {"": copy.deepcopy(value)}
    raw = None
    for _ in range(chance.choice((1, 1, 2))):
        parent, key = chance.choice(list(_places(tree)))
        match chance.randrange(5):
            case 0 if parent is not tree:
                del parent[key]
            case 1 if isinstance(parent, dict) and parent is not tree:
                parent[chance.choice(TEXTS)] = parent.pop(key)
            case 2:
                parent[key], raw = MARK, chance.choice(RAW)
            case 3 if (others := list(_places(tree))) and parent is not tree:
                home, other = chance.choice(others)
                parent[key] = copy.deepcopy(home[other])
            case _:
                parent[key] = copy.deepcopy(chance.choice(PLAIN))
    text = json.dumps(tree[""])
    return (text if raw is None else text.replace(json.dumps(MARK), raw)).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """(container, key) of everything in the tree."""
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in list(members):
        yield value, key
        if isinstance(child, dict | list):
            yield from _places(child)
