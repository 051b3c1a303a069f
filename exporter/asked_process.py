"""Work on a template in a process of its own, with limits: it may crash, hang or eat memory.

Templates are programs of strangers, and the vendors' engines are native code. Orders and answers are JSON,
an answer per line, written as soon as it is known. Not about what is asked (`template_rendering`,
`exporter.lowering.vendor_prompts`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.excerpt import plain_excerpt
from runtimes.strict_json import StrictJsonError, parse_json_object

# As `-m`, but from where this package lies: a user's directory may hold modules of the same names.
START = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__')"
)
ROOT = Path(__file__).resolve().parents[1]
Question = Mapping[str, Any]
Reply = Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """processor_seconds, memory_bytes: None for no limit."""

    seconds: float
    processor_seconds: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Replies:
    """In the order they came. end: what stopped the process before it was through, in words; None where
    nothing did. hung: whether that was its time."""

    found: tuple[Reply, ...]
    end: str | None
    hung: bool = False


def ask(module: str, order: Question, limits: Limits) -> Replies:
    """Run a module that calls `reply_to`."""
    command = [sys.executable, "-P", "-c", START, str(ROOT), module]
    stated = {"order": order, "cpu": limits.processor_seconds, "memory": limits.memory_bytes}
    try:
        done = subprocess.run(
            command,
            input=json.dumps(stated).encode(),
            capture_output=True,
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        end = f"took longer than {limits.seconds:g} s{_printed(error.stderr)}"
        return Replies(_answers(error.stdout), end, hung=True)
    found = _answers(done.stdout)
    if done.returncode == 0:
        return Replies(found, None)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL) and limits.processor_seconds is not None:
        return Replies(found, f"took longer than {limits.processor_seconds} s", hung=True)
    return Replies(found, f"ended with {_how(done.returncode)}{_printed(done.stderr)}")


def reply_to(answer: Callable[[Question], Iterator[Reply]]) -> None:
    """The process's own side: answer the order on standard input, within the limits it states."""
    stated = parse_json_object(sys.stdin.buffer.read())
    # What native code prints must not come between the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        _limit(stated["cpu"], stated["memory"])
        for found in answer(stated["order"]):
            out.write(json.dumps(found) + "\n")
            out.flush()


def _limit(processor_seconds: int | None, memory_bytes: int | None) -> None:
    try:
        import resource
    except ImportError:  # Windows has none; time is limited all the same
        return
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: processor_seconds,
        resource.RLIMIT_AS: memory_bytes,
    }
    for which, limit in wanted.items():
        if limit is not None:
            with suppress(ValueError, OSError):  # macOS knows no limit on address space
                resource.setrlimit(which, (limit, resource.getrlimit(which)[1]))


def _answers(printed: bytes | None) -> tuple[Reply, ...]:
    """Whole lines; one that was cut short is no answer."""
    found = []
    for line in (printed or b"").splitlines():
        try:
            found.append(parse_json_object(line))
        except StrictJsonError:
            break
    return tuple(found)


def _how(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {abs(code)}"


def _printed(errors: bytes | None) -> str:
    lines = [line for line in (errors or b"").decode("utf-8", "replace").splitlines() if line.strip()]
    return f", having printed last: {plain_excerpt(lines[-1].strip())}" if lines else ""
