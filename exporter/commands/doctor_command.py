"""`gemma-export doctor`: what is installed, and what this machine can do.

Not about finding out (`exporter.doctor`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.byte_size import megabytes
from exporter.commands.shared_options import TRACEBACK
from exporter.console import make_console
from exporter.exits import exit_codes

if TYPE_CHECKING:
    from exporter.doctor import Examination, PathFinding


@click.command("doctor")
@click.option("--accelerators", is_flag=True, help="Which execution paths are here, and what others need.")
@TRACEBACK
def doctor_command(accelerators: bool, traceback: bool) -> None:
    """Say which runtimes and versions are there, and what this machine can do.

    Exit code 3 if something is missing: a package or, with --accelerators, an execution path.
    """
    with exit_codes(traceback):
        from exporter.doctor import examine, examine_paths

        if accelerators:
            paths = examine_paths()
            _show_paths(paths)
            sys.exit(3 if any(path.missing for path in paths) else 0)
        found = examine(Path.cwd())
        _show_examination(found)
        sys.exit(0 if found.complete else 3)


def _show_paths(found: tuple[PathFinding, ...]) -> None:
    from rich.table import Table

    from exporter.views.fitted_table import print_fitted

    console = make_console()
    table = Table("execution path", "here")
    for path in found:
        table.add_row(
            path.title, path.missing or "can be executed", style="yellow" if path.missing else None
        )
    print_fitted(table, console)
    for adapter in dict.fromkeys(path.adapter for path in found if path.adapter is not None):
        of = " and ".join(path.title for path in found if path.adapter == adapter)
        console.print(f"Adapter of {of}: {adapter}.", highlight=False, markup=False)
    for path in found:
        console.print(f"Of {path.title}: {path.says_nothing_of}, wherever it is executed.", highlight=False)


def _show_examination(found: Examination) -> None:
    from rich.table import Table

    from exporter.views.fitted_table import print_fitted

    console = make_console()
    table = Table("package", "installed", "tested", "needed for")
    for finding in found.findings:
        style = None if finding.as_tested else "yellow" if finding.installed else "red"
        installed = finding.installed or "not installed"
        table.add_row(
            finding.part.package, installed, finding.part.tested, finding.part.purpose, style=style
        )
    print_fitted(table, console)
    memory = "unknown" if found.memory is None else megabytes(found.memory)
    console.print(f"{found.system}, Python {found.python}, {found.processors} processors")
    console.print(f"memory available {memory}, disk free here {megabytes(found.disk)}")
    console.print(f"Core ML packages are executed by {found.core_ml}")
    if not found.complete:
        console.print(
            "Something is missing for exports: pip install -r requirements.lock installs all of it. "
            "Running and checking releases takes less (README)."
        )
