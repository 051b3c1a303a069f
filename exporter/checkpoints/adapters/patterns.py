"""Regular expressions of an adapter_config.json, matched within a limit of time.

peft matches them with `re`, which can take longer than anyone lives (`(.*)*x`) and cannot be stopped; the
`regex` package reads what `re` reads and stops. Two spellings mean something else to it and are refused:
no module's name holds a brace or a bracket. Not about which modules an expression is held against
(`selection`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from exporter.errors import CheckpointError
from runtimes.excerpt import excerpt

if TYPE_CHECKING:
    import regex

SECONDS = 0.5  # of the processor; a name of fifty letters takes an expression of any use microseconds
LONGEST = 1 << 16  # letters; the expressions of trainers that list every module have a fifth of it
MOST_COUNTED = 10_000  # of all its `{n}` multiplied: `regex` writes them out as it compiles
COUNTED = re.compile(r"\{(\d*),?(\d*)\}")
# `regex` takes these for fuzzy matching and for named sets; to `re` they are letters.
MEANS_ELSE = re.compile(r"\{(?!\d*(,\d*)?\})|\[:")


def _regex() -> Any:
    """Where there is an adapter: planning a model without one needs no such package."""
    import regex

    return regex


def complaint(pattern: str) -> str | None:
    """Why it cannot be matched as peft would match it, None where it can."""
    regex = _regex()
    if len(pattern) > LONGEST:
        return f"is {len(pattern)} letters long, more than the {LONGEST} that are read"
    if _most_counted(pattern) > MOST_COUNTED:
        return f"counts repetitions beyond {MOST_COUNTED}"
    try:
        for compiled in (re.compile, regex.compile):
            compiled(rf"(.*\.)?({pattern})$")
    except (re.error, regex.error, OverflowError, RecursionError, MemoryError, ValueError) as error:
        return f"is no regular expression ({error})"
    if MEANS_ELSE.search(pattern):
        return "has a brace or a bracket that no module's name has"
    return None


def _most_counted(pattern: str) -> int:
    """Its counts multiplied, as if each stood in the one before; no further than the limit."""
    most = 1
    for least, limit in COUNTED.findall(pattern):
        counts = [min(int(count[:9]), MOST_COUNTED + 1) for count in (least, limit) if count]
        most = min(most * max([1, *counts]), MOST_COUNTED + 1)
    return most


def match(expression: str, name: str) -> regex.Match[str] | None:
    """As `re.match`. Raises CheckpointError for an expression that takes too long."""
    try:
        return _regex().match(expression, name, timeout=SECONDS)
    except (TimeoutError, MemoryError) as error:
        raise _too_long(expression, name) from error


def matches_whole(expression: str, name: str) -> bool:
    """As `re.fullmatch`. Raises CheckpointError for an expression that takes too long."""
    try:
        return _regex().fullmatch(expression, name, timeout=SECONDS) is not None
    except (TimeoutError, MemoryError) as error:
        raise _too_long(expression, name) from error


def _too_long(expression: str, name: str) -> CheckpointError:
    return CheckpointError(
        "adapter_config.json",
        f"the regular expression {excerpt(expression)} takes over {SECONDS} s to hold against {name:.100}",
        "write it without a repetition inside a repetition, or name the modules in a list",
    )
