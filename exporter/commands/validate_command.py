"""`gemma-export validate`: a release checked again, against its checkpoint or by its recorded calls.

Not about how (`exporter.revalidation`, `exporter.running.recorded_check`).
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.commands.before_work import quieten, say_what_it_means
from exporter.commands.job_page import tell_job, tell_job_recorded
from exporter.commands.recorded_table import print_recorded_check, print_what_is_checked
from exporter.commands.shared_options import ACCELERATORS, TIMINGS, TRACEBACK, as_directory, as_files
from exporter.console import make_console, print_timings, progress_on
from exporter.exits import exit_codes
from exporter.stopwatch import Stopwatch

if TYPE_CHECKING:  # neither is imported before a command is chosen
    from rich.console import Console

    from exporter.validation.report import ValidationReport

NEEDED = ("torch", "transformers")  # to compare with the checkpoint
OF_THE_CHECKPOINT = (
    "model",
    "adapter",
    "calibration",
    "validation_tokens",
    "accelerators",
    "cpu",
    "report",
)


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
@click.option(
    "--recorded",
    is_flag=True,
    help="Without the checkpoint: checksums, then the calls the release recorded, made again in every "
    "runtime that is here. Default where torch is not installed.",
)
@click.option(
    "--report",
    callback=as_directory,
    metavar="DIR",
    help="Write this check's own report there, as a release has it: report.html, .md, .json, junit.xml.",
)
@TIMINGS
@TRACEBACK
@click.pass_context
def validate_command(
    context: click.Context,
    /,
    directory: Path,
    model: str | None,
    timings: bool,
    traceback: bool,
    **asked: Any,
) -> None:
    """Re-check a release: its checksums, and every artifact run and compared again.

    Its first line says with what: transformers on the checkpoint it was made from, or, on a light install
    and with --recorded, the calls it recorded when it was made.

    Exit codes: 0 all passed, 1 something failed, 2 refused, 3 something could not be checked, such as an
    artifact whose runtime is not installed.
    """
    with exit_codes(traceback):
        quieten()
        from runtimes.manifest import read_manifest

        given = [name for name in OF_THE_CHECKPOINT if _given(context, name)]
        missing = [package for package in NEEDED if find_spec(package) is None]
        if asked.pop("recorded") or (missing and not given):
            _check_by_record(directory, given, missing, timings)
        console = make_console()
        say_what_it_means(model, console)
        read_manifest(directory)  # refuses before anything heavy is imported
        if missing:
            _refuse_without(missing, given)
        if asked["cpu"] is not None:
            from runtimes.arm64.root import find_root

            find_root().require_cpu(asked["cpu"])
        console.print(
            f"Checked against its checkpoint, {model or 'the sample'}: checksums, and every artifact run "
            "and compared with transformers.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        stopwatch = Stopwatch()
        with stopwatch.step("import packages"):
            from exporter.revalidation import CheckAgain, revalidate
            from exporter.views.release_files import require_apart
            from exporter.views.terminal import print_report

        if (apart := asked.pop("report")) is not None:
            require_apart(apart, directory)
        with progress_on(console) as progress:
            report = revalidate(CheckAgain(directory, model, **asked), progress, stopwatch)
        print_report(report, console)
        _keep(report, apart, console)
        tell_job(report)
        if timings:
            print_timings(stopwatch.timings(), console)
        sys.exit(report.exit_code)


def _keep(report: ValidationReport, directory: Path | None, console: Console) -> None:
    """Its views, where somebody asked for them."""
    from exporter.views.html_report import HTML_NAME
    from exporter.views.release_files import write_report_apart

    if directory is not None:
        write_report_apart(report, directory)
        console.print(f"Report: {directory / HTML_NAME}", highlight=False, markup=False, soft_wrap=True)


def _check_by_record(directory: Path, given: list[str], missing: list[str], timings: bool) -> None:
    """Exits with the check's code."""
    from exporter.errors import UsageError
    from runtimes.manifest import read_manifest

    stopwatch = Stopwatch()
    with stopwatch.step("import packages"):
        from exporter.running.recorded_check import check_by_record
    if given:
        raise UsageError(
            _flag(given[0]), "does not go with --recorded, which takes no checkpoint", "leave one out"
        )
    read_manifest(directory)
    console = make_console()
    print_what_is_checked(missing, console)
    with stopwatch.step("check by recorded calls"), progress_on(console) as progress:
        check = check_by_record(directory, progress)
    print_recorded_check(check, console)
    tell_job_recorded(check)
    if timings:
        print_timings(stopwatch.timings(), console)
    sys.exit(check.exit_code)


def _refuse_without(missing: list[str], given: list[str]) -> None:
    from exporter.errors import UsageError

    raise UsageError(
        _flag(given[0]),
        f"compares with the checkpoint, which needs {' and '.join(missing)}, and this is a light install",
        "pip install '.[export]', or leave the flag out: its recorded calls are checked then",
    )


def _given(context: click.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _flag(name: str) -> str:
    return "--[no-]accelerators" if name == "accelerators" else f"--{name.replace('_', '-')}"
