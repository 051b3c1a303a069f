"""`gemma-export validate`: a release checked again.

Not about how (`exporter.revalidation`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from exporter.commands.before_work import quieten, say_what_it_means
from exporter.commands.job_page import tell_job
from exporter.commands.shared_options import ACCELERATORS, TIMINGS, TRACEBACK, as_directory, as_files
from exporter.console import make_console, print_timings, progress_on
from exporter.exits import exit_codes
from exporter.stopwatch import Stopwatch


@click.command("validate")
@click.argument("directory", callback=as_directory)
@click.option("--model", metavar="REF", help="The checkpoint it was made from. Default: the sample.")
@click.option("--adapter", callback=as_directory, metavar="DIR", help="The LoRA merged into it.")
@click.option(
    "--calibration",
    multiple=True,
    callback=as_files,
    metavar="FILE",
    help="The text its codes were fitted to, as the export was given it.",
)
@click.option("--validation-tokens", type=click.IntRange(min=32), metavar="N", help="As for an export.")
@ACCELERATORS
@click.option(
    "--cpu",
    metavar="NAME",
    help="Run every LiteRT and ONNX artifact on this emulated ARM64 CPU too, e.g. cortex-a76; "
    "`python -m runtimes.arm64.prepare` makes what that needs.",
)
@TIMINGS
@TRACEBACK
def validate_command(
    directory: Path, model: str | None, timings: bool, traceback: bool, **asked: Any
) -> None:
    """Re-check a release: its checksums, and every artifact run and compared again."""
    with exit_codes(traceback):
        quieten()
        from runtimes.manifest import read_manifest

        console = make_console()
        say_what_it_means(model, console)
        read_manifest(directory)  # refuses before anything heavy is imported
        if asked["cpu"] is not None:
            from runtimes.arm64.root import find_root

            find_root().require_cpu(asked["cpu"])
        stopwatch = Stopwatch()
        with stopwatch.step("import packages"):
            from exporter.revalidation import CheckAgain, revalidate
            from exporter.views.terminal import print_report

        with progress_on(console) as progress:
            report = revalidate(CheckAgain(directory, model, **asked), progress, stopwatch)
        print_report(report, console)
        tell_job(report)
        if timings:
            print_timings(stopwatch.timings(), console)
        sys.exit(report.exit_code)
