"""Every way out of the command, each with an exit code of its own.

    0    every gate passed                    70   a defect of gemma-export
    1    a gate failed, and nothing else      130  interrupted (SIGINT)
    2    the request cannot be served         141  nobody reads the output any more (SIGPIPE)
    3    something could not be checked       143  terminated (SIGTERM)

Codes 0, 1 and 3 are a report's to give (`exporter.validation.report`); this is about the rest.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

import click

from exporter.ci_errors import error_line, in_actions
from runtimes.excerpt import plain_excerpt

GATE_FAILED, REFUSED, NOT_CHECKED, DEFECT = 1, 2, 3, 70
INTERRUPTED, UNREAD, TERMINATED = (128 + each for each in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM))
CLEARING_UP = 10.0  # seconds after a signal in which more of them change nothing
ERROR = "error: "
MOST_ECHOED = 200  # characters of an unexpected error's own words


class Terminated(KeyboardInterrupt):
    """SIGTERM, which unwinds as Ctrl-C does."""


def worst_exit_code(codes: Iterable[int]) -> int:
    """Of several reports': a gate that failed counts for more than one that could not be checked."""
    found = set(codes)
    return next(code for code in (GATE_FAILED, NOT_CHECKED, 0) if code in found)


def silence_farewells() -> None:
    """Close stderr to LiteRT, which takes leave of its accelerators there when the process is over."""
    if "ai_edge_litert" in sys.modules and sys.stderr is sys.__stderr__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextmanager
def exit_codes(show_traceback: bool) -> Iterator[None]:
    """Run a command: what it raises becomes words on stderr and an exit code.

    show_traceback: of what is our defect; refusals say what there is to say.
    """
    from exporter.errors import ExportError
    from exporter.packaging.disks import full_disk
    from runtimes.errors import RuntimesError

    _ready_output()
    with _signals_raised() as caught:
        try:
            try:
                yield
            except SystemExit:
                sys.stdout.flush()
                raise
            sys.stdout.flush()
        except KeyboardInterrupt as error:
            _stop(error, caught)
        except BrokenPipeError as error:
            _silence_output()
            _leave(UNREAD, "stopped: nobody reads the output any more", error)
        except Exception as error:
            if caught:  # a library made something else of the interrupt
                _stop(error, caught)
            if isinstance(error, (ExportError, RuntimesError)):
                _leave(REFUSED, f"{ERROR}{error}", error)
            if (full := full_disk(error)) is not None:
                _leave(REFUSED, f"{ERROR}{full}", error)
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                _leave(REFUSED, f"{ERROR}{_named_too_long(error)}", error)
            if (package := _missing_package(error)) is not None:
                _leave(
                    REFUSED,
                    f"{ERROR}{package}: the package is not installed, and this command needs it; "
                    "pip install '.[export]' ('.[export,sample]' for the sample, the default --model), "
                    "or see gemma-export doctor",
                    error,
                )
            if show_traceback:
                click.echo(traceback.format_exc(), err=True, nl=False)
            _leave(DEFECT, f"{ERROR}{_unexpected(error, show_traceback)}", error)


@contextmanager
def _signals_raised() -> Iterator[list[int]]:
    """SIGINT and SIGTERM raise where the program is; the list gets their numbers."""
    caught: list[int] = []
    last = -CLEARING_UP

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        caught.append(number)
        if time.monotonic() - last < CLEARING_UP:
            return
        last = time.monotonic()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield caught  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(error: BaseException, caught: list[int]) -> NoReturn:
    if signal.SIGTERM in caught[:1] or isinstance(error, Terminated):
        code, what = TERMINATED, "terminated"
    else:
        code, what = INTERRUPTED, "interrupted"
    kept = (
        "" if hasattr(error, "__notes__") else " Nothing is left of it: run the same command to start anew."
    )
    _leave(code, f"{what}.{kept}", error)


def _leave(code: int, words: str, error: BaseException) -> NoReturn:
    """Say it, and what notes the error has gathered, in one line each; then exit."""
    with suppress(BrokenPipeError):
        for line in (words, *getattr(error, "__notes__", ())):
            click.echo(line, err=True)
        if in_actions() and words.startswith(ERROR):
            click.echo(error_line("gemma-export", words.removeprefix(ERROR)), err=True)
    sys.exit(code)


def _unexpected(error: Exception, shown: bool) -> str:
    words = " ".join(str(error).split())
    if len(words) > MOST_ECHOED:
        words = f"{words[:MOST_ECHOED]}…"
    then = "" if shown else "; --traceback shows where it came from"
    return (
        f"unexpected {type(error).__name__}: {words}; this is a defect of gemma-export, report it to "
        f"whom you have it from, with the command and what `gemma-export doctor` prints{then}"
    )


def _named_too_long(error: OSError) -> str:
    what = "a path" if error.filename is None else plain_excerpt(os.fsdecode(error.filename))
    return f"{what}: is longer than names may be on this system; give a shorter one"


def _missing_package(error: Exception) -> str | None:
    """The package an import did not find; None where our code or a package that is there is at fault."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.partition(".")[0]
    ours = package in ("exporter", "runtimes")
    return None if ours or find_spec(package) is not None else package


def _ready_output() -> None:
    """One that knows few characters gets the rest replaced, and one that is closed is no reason to stop:
    what was found is worth more than a dash in a table."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - stays open as long as the process
    elif isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _silence_output() -> None:
    """What is still buffered has nowhere to go: keep the interpreter from trying at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
