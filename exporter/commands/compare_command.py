"""`gemma-export compare`: quantised checkpoints and releases beside the original and each other.

Not about comparing (`exporter.comparing`) or reading what is reported (`exporter.reported_releases`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from exporter.commands.before_work import quieten, say_what_it_means
from exporter.commands.shared_options import TRACEBACK, as_directories, as_directory, as_file
from exporter.console import make_console, progress_on
from exporter.exits import exit_codes


@click.command("compare")
@click.argument("directories", nargs=-1, required=True, callback=as_directories)
@click.option("--model", metavar="REF", help="The checkpoint they were made from. Default: the sample.")
@click.option("--adapter", callback=as_directory, metavar="DIR", help="The LoRA merged into it.")
@click.option(
    "--tokens",
    type=click.IntRange(min=65),
    metavar="N",
    help="Compare on this many tokens of each domain at most. Default: all; 256 where a release is among "
    "them, as its artifacts are run, most of them token by token.",
)
@click.option(
    "--reported",
    is_flag=True,
    help="Execute nothing: hold the releases' own reports side by side. Takes a second, and neither "
    "checkpoint nor torch.",
)
@click.option("--json", "file", callback=as_file, metavar="FILE", help="Write all figures here too.")
@TRACEBACK
def compare_command(
    directories: tuple[Path, ...], reported: bool, file: Path | None, traceback: bool, **asked: Any
) -> None:
    """Hold quantised checkpoints and releases against the checkpoint they were made from, and each against
    the one before it.

    Each of DIRECTORIES is what `gemma-export quantize` made, which is compared in transformers, or a
    release, each of whose artifacts is executed on this machine's CPU. All see the same text: ten
    languages, code and chat that no codes are fitted to. Bits are for each weight: of a checkpoint's
    tensors, of an artifact's files. Nothing passes or fails: exit code 0, or 2 where it is refused.

    Of releases, what their own reports say stands beside: outcome, size, quality, speed and memory as of
    the machine that made them, devices. Oldest first, to see what changed from release to release. What
    does not bear on each other (another checkpoint, text or machine) is said, not subtracted.

    A release that is executed takes about 1 MiB of temporary disk for each token.
    """
    with exit_codes(traceback):
        quieten()
        console = make_console()
        directories = _each_once(directories, console)
        if file is not None:
            _require_writable(file)
        from exporter.reported_releases import read_reported, reported_among
        from exporter.views.compared_tables import compared_json, print_compared
        from exporter.views.reported_tables import print_reported

        executed = None
        if reported:
            _require_unasked(asked)
            found = read_reported(directories)
        else:
            say_what_it_means(asked["model"], console)
            from exporter.comparing import CompareOrder, compare

            found = reported_among(directories)
            with progress_on(console) as progress:
                executed = compare(CompareOrder(directories, **asked), progress)
        if file is not None:
            _write(file, compared_json(executed, found))
        if executed is not None:
            print_compared(executed, console)
        print_reported(found, console)


def _each_once(directories: tuple[Path, ...], console: Any) -> tuple[Path, ...]:
    """In order, whatever paths lead to one; which were named again is said."""
    found: dict[Path, Path] = {}
    for directory in directories:
        first = found.setdefault(directory.resolve(), directory)
        if first is not directory:
            again = "" if first == directory else f", as {first}"
            console.print(
                f"{directory} was named before{again}: it is compared once.",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    return tuple(found.values())


def _write(file: Path, text: str) -> None:
    """Raises UsageError."""
    from exporter.errors import UsageError
    from exporter.packaging.disks import full_disk

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        if full_disk(error) is not None:
            raise
        raise UsageError(
            f"--json {file}", f"cannot be written ({error.strerror})", "name a file you may write"
        ) from error


def _require_unasked(asked: Mapping[str, Any]) -> None:
    """What only executing takes. Raises UsageError."""
    from exporter.errors import UsageError

    for name, value in asked.items():
        if value is not None:
            raise UsageError(
                f"--{name}", "means nothing beside --reported, which executes nothing", "leave one out"
            )


def _require_writable(file: Path) -> None:
    """Before any work. Raises UsageError."""
    from exporter.errors import UsageError

    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UsageError(f"--json {file}", "cannot be written", "name a file in a directory that is there")
