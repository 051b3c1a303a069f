"""The `gemma-export` command: flags of an export in, exit code out, with the subcommands beside it.

It and `exporter.commands` are the only places that print. Heavy packages are imported by the commands that
need them, so that `--help` answers at once. Exit codes are listed in `exporter.exits`.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from exporter import __version__
from exporter.commands.before_work import quieten, say_what_it_means
from exporter.commands.bench_command import bench_command
from exporter.commands.compare_command import compare_command
from exporter.commands.device_names import DeviceNamingGroup
from exporter.commands.doctor_command import doctor_command
from exporter.commands.job_page import tell_job, tell_job_left_out
from exporter.commands.plan_command import plan_command
from exporter.commands.profiles_command import profiles_command
from exporter.commands.quantize_command import quantize_command
from exporter.commands.run_command import run_prompt_command
from exporter.commands.shared_options import (
    ACCELERATORS,
    ADAPTER,
    CALIBRATION,
    COMPONENTS,
    CONTEXT,
    FORMAT,
    IMAGE_TOKENS,
    MODEL,
    PROFILE,
    RECIPE,
    TARGET,
    TARGETS,
    TIMINGS,
    TRACEBACK,
    as_bytes,
    as_directory,
)
from exporter.commands.validate_command import validate_command
from exporter.console import make_console, print_timings, progress_on
from exporter.exits import GATE_FAILED, exit_codes, worst_exit_code
from exporter.stopwatch import Stopwatch


@click.group(
    cls=DeviceNamingGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@TARGET
@PROFILE
@MODEL
@ADAPTER
@RECIPE
@CALIBRATION
@CONTEXT
@FORMAT
@COMPONENTS
@IMAGE_TOKENS
@click.option(
    "--prefill-logits",
    type=click.Choice(("last", "all")),
    default="last",
    show_default=True,
    help="ONNX: positions a prefill returns logits for.",
)
@click.option(
    "--validation-tokens",
    type=click.IntRange(min=32),
    metavar="N",
    help="Compare on this many tokens at most. Default: all of the evaluation text the context holds.",
)
@click.option(
    "--max-ram",
    callback=as_bytes,
    metavar="SIZE",
    help="Refuse before any work what would need more memory than this, e.g. 8GiB.",
)
@ACCELERATORS
@click.option(
    "--output",
    "-o",
    callback=as_directory,
    metavar="DIR",
    help="Release directory. Where several are made, a directory for them and nothing else, each named by "
    "its recipe (DIR/int8), and where that is not enough by context (DIR/int8-2048), formats and devices "
    "as well, in the order the devices were named. Default: releases/MODEL-RECIPE-DEVICES.",
)
@click.option("--force", is_flag=True, help="Replace release directories that exist.")
@click.option(
    "--anyway", is_flag=True, help="Export for devices on which nothing fits too; reports say so."
)
@TIMINGS
@TRACEBACK
@click.version_option(__version__, prog_name="gemma-export")
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Turn a Gemma checkpoint into a release that was run and compared before it may ship.

    Writes LiteRT, ONNX and Core ML artifacts as the target asks, executes each one, compares it with
    transformers, and publishes the directory only if every gate passed.

    \b
    Exit codes: 0 every gate passed, 1 a gate failed, 2 refused, 3 something
    could not be checked, 70 a defect of gemma-export, 130 interrupted,
    141 nobody reads the output, 143 terminated.
    """
    if context.invoked_subcommand is not None:
        given = [name for name in options if _given(context, name)]
        if given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} does not go with a subcommand")
        return
    if not options["targets"] and not options["profiles"]:
        raise click.UsageError(f"name a target: --target {'|'.join(TARGETS)}, or a device with --profile")
    if options["targets"] and options["profiles"]:
        raise click.UsageError("--target and --profile exclude each other; a profile is one device")
    with exit_codes(options.pop("traceback")):
        quieten()
        _export(options)


def _export(options: dict[str, Any]) -> None:
    from exporter.request import Flags, make_request

    timings = options.pop("timings")
    request = make_request(Flags(**options))  # refuses before anything heavy is imported
    console = make_console()
    say_what_it_means(options["model"], console)
    stopwatch = Stopwatch()
    with stopwatch.step("import packages"):
        from exporter.pipeline import export
        from exporter.views.plan_tables import verdict_sentence
        from exporter.views.terminal import print_report

    with progress_on(console) as progress:
        results = export(request, progress, stopwatch)
    for result in results:
        print_report(result.report, console)
        tell_job(result.report)
        for device in result.report.devices:
            console.print(verdict_sentence(device), highlight=False, markup=False)
    tell_job_left_out(results[0].left_out)
    if timings:
        print_timings(stopwatch.timings(), console)
    for result in results:
        if result.published:
            where = f"Release: {result.directory}"
        else:
            where = f"Not released. What was made, and why it was held back: {result.directory}"
        console.print(where, soft_wrap=True)
    unserved = [GATE_FAILED for result in results if result.left_out]
    sys.exit(worst_exit_code([*(result.report.exit_code for result in results), *unserved]))


def _given(context: click.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


COMMANDS = (
    plan_command,
    profiles_command,
    quantize_command,
    compare_command,
    validate_command,
    run_prompt_command,
    bench_command,
    doctor_command,
)
for command in COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
