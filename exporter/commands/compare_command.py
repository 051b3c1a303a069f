"""`gemma-export compare`: quantised checkpoints and releases beside the original, by language and domain.

Not about comparing (`exporter.comparing`).
"""

from __future__ import annotations

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
@click.option("--json", "file", callback=as_file, metavar="FILE", help="Write all figures here too.")
@TRACEBACK
def compare_command(
    directories: tuple[Path, ...], file: Path | None, traceback: bool, **asked: Any
) -> None:
    """Hold quantised checkpoints and releases against the checkpoint they were made from.

    Each of DIRECTORIES is what `gemma-export quantize` made, which is compared in transformers, or a
    release, each of whose artifacts is executed on this machine's CPU. All see the same text: ten
    languages, code and chat that no codes are fitted to. Bits are for each weight: of a checkpoint's
    tensors, of an artifact's files. What a release's own report says stands beside. Nothing passes or
    fails: exit code 0, or 2 where it is refused.

    A release takes about 1 MiB of temporary disk for each token.
    """
    with exit_codes(traceback):
        quieten()
        console = make_console()
        say_what_it_means(asked["model"], console)
        from exporter.comparing import CompareOrder, compare
        from exporter.views.compared_tables import compared_json, print_compared

        if file is not None:
            _require_writable(file)
        with progress_on(console) as progress:
            compared = compare(CompareOrder(directories, **asked), progress)
        if file is not None:
            file.write_text(compared_json(compared), encoding="utf-8")
        print_compared(compared, console)


def _require_writable(file: Path) -> None:
    """Before any work. Raises UsageError."""
    from exporter.errors import UsageError

    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UsageError(f"--json {file}", "cannot be written", "name a file in a directory that is there")
