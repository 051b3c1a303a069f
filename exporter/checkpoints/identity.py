"""Whether what somebody made long ago was made from this checkpoint, and two things from one.

By the digests of its files. Not about computing them (`exporter.checkpoints.interface`).
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.checkpoints.files.hub_layout import ADDED_TOKENS, PROCESSOR_TEMPLATE, SPECIAL_TOKENS_MAP

SINCE = {PROCESSOR_TEMPLATE, ADDED_TOKENS, SPECIAL_TOKENS_MAP}  # not looked at by earlier versions


def is_made_from(sealed: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Whether the digests that were sealed are these; whoever sealed them may be older than some names."""
    since = SINCE - sealed.keys()
    return dict(sealed) == {name: digest for name, digest in found.items() if name not in since}


def are_of_one_checkpoint(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two sealed sets of digests are of the same files; either may be older than some names."""
    unlike = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    return all(name in SINCE and (name not in one or name not in other) for name in unlike)
