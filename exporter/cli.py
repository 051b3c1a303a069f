"""The `gemma-export` command: flags in, exit code out.

The only place that prints. Heavy packages are imported by the commands that need them, so that `--help`
answers at once. Exit codes are listed in `exporter.exits`.
"""

from __future__ import annotations

import atexit
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter import __version__
from exporter.byte_size import parse_bytes
from exporter.console import make_console, print_timings, progress_on
from exporter.exits import exit_codes, silence_farewells
from exporter.stopwatch import Stopwatch
from runtimes.excerpt import plain_excerpt
from runtimes.formats import FORMATS

if TYPE_CHECKING:
    from exporter.doctor import Examination, PathFinding

TARGETS = ("android", "ios", "macos", "desktop", "web", "all")
ACCELERATORS = click.option(
    "--accelerators/--no-accelerators",
    default=True,
    help="Execute on the GPU and other paths that are here too, or on the CPU alone, which the report then "
    "says. Default: with them; `doctor --accelerators` lists them.",
)
TIMINGS = click.option("--timings", is_flag=True, help="Say where the time went, step by step.")
TRACEBACK = click.option("--traceback", is_flag=True, help="Show where an unexpected error came from.")


def _bytes(value: str | None) -> int | None:
    try:
        return None if value is None else parse_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _directory(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """A path: not an empty one, which would be the current directory, and in UTF-8, as all names in a
    release are and vendors' runtimes want."""
    if value is None:
        return None
    if not value:
        raise click.BadParameter("is empty; name a directory")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{plain_excerpt(value)} is not UTF-8; give another name") from error
    return Path(value)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--target", type=click.Choice(TARGETS), help="Kind of device: formats, recipe, context.")
@click.option("--profile", metavar="NAME", help="One device of device_profiles/ instead, e.g. pixel-9.")
@click.option(
    "--model",
    metavar="REF",
    help="A Hugging Face directory, a .gguf file, or a published Gemma to fetch from the Hugging Face Hub: "
    "2b, 9b, gemma-3-4b-it, google/gemma-4-E2B@REVISION and the like. Default: the sample, Gemma 3 270M.",
)
@click.option(
    "--adapter",
    callback=_directory,
    metavar="DIR",
    help="A PEFT LoRA directory to merge into it.",
)
@click.option(
    "--recipe",
    metavar="NAME",
    help="int8, int4, int4-zp, int4-fast, float, as-stored, or a .toml file. Default: the target's.",
)
@click.option(
    "--context",
    type=click.IntRange(min=1),
    metavar="N",
    help="Positions of the KV cache. Default: the target's.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="Write this format instead of the target's; may be given again.",
)
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
    callback=lambda context, parameter, value: _bytes(value),
    metavar="SIZE",
    help="Refuse before any work what would need more memory than this, e.g. 8GiB.",
)
@ACCELERATORS
@click.option("--output", "-o", callback=_directory, metavar="DIR", help="Release directory.")
@click.option("--force", is_flag=True, help="Replace the release directory if it exists.")
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
    if not options["target"] and not options["profile"]:
        raise click.UsageError(f"name a target: --target {'|'.join(TARGETS)}, or a device with --profile")
    if options["target"] and options["profile"]:
        raise click.UsageError("--target and --profile exclude each other; a profile is one device")
    with exit_codes(options.pop("traceback")):
        _quieten()
        _export(options)


@main.command()
@click.argument("directory", callback=_directory)
@click.option("--model", metavar="REF", help="The checkpoint it was made from. Default: the sample.")
@click.option("--adapter", callback=_directory, metavar="DIR", help="The LoRA merged into it.")
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
def validate(directory: Path, model: str | None, timings: bool, traceback: bool, **asked: Any) -> None:
    """Re-check a release: its checksums, and every artifact run and compared again."""
    with exit_codes(traceback):
        _quieten()
        from runtimes.manifest import read_manifest

        console = make_console()
        _say_what_it_means(model, console)
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
        if timings:
            print_timings(stopwatch.timings(), console)
        sys.exit(report.exit_code)


@main.command()
@click.option("--accelerators", is_flag=True, help="Which execution paths are here, and what others need.")
@TRACEBACK
def doctor(accelerators: bool, traceback: bool) -> None:
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

    console = make_console()
    table = Table("execution path", "here")
    for path in found:
        table.add_row(
            path.title, path.missing or "can be executed", style="yellow" if path.missing else None
        )
    console.print(table)
    for adapter in dict.fromkeys(path.adapter for path in found if path.adapter is not None):
        of = " and ".join(path.title for path in found if path.adapter == adapter)
        console.print(f"Adapter of {of}: {adapter}.", highlight=False, markup=False)
    for path in found:
        console.print(f"Of {path.title}: {path.says_nothing_of}, wherever it is executed.", highlight=False)


def _show_examination(found: Examination) -> None:
    from rich.table import Table

    console = make_console()
    table = Table("package", "installed", "tested", "needed for")
    for finding in found.findings:
        style = None if finding.as_tested else "yellow" if finding.installed else "red"
        installed = finding.installed or "not installed"
        table.add_row(
            finding.part.package, installed, finding.part.tested, finding.part.purpose, style=style
        )
    console.print(table)
    gib = 2**30
    memory = "unknown" if found.memory is None else f"{found.memory / gib:.1f} GiB"
    console.print(f"{found.system}, Python {found.python}, {found.processors} processors")
    console.print(f"memory available {memory}, disk free here {found.disk / gib:.1f} GiB")
    console.print(f"Core ML packages are executed by {found.core_ml}")
    if not found.complete:
        console.print("Something is missing: pip install -r requirements.lock installs all of it.")


def _export(options: dict[str, Any]) -> None:
    from exporter.request import Flags, make_request

    timings = options.pop("timings")
    request = make_request(Flags(**options))  # refuses before anything heavy is imported
    console = make_console()
    _say_what_it_means(options["model"], console)
    stopwatch = Stopwatch()
    with stopwatch.step("import packages"):
        from exporter.pipeline import export
        from exporter.views.terminal import print_report

    with progress_on(console) as progress:
        result = export(request, progress, stopwatch)
    print_report(result.report, console)
    for sentence in result.estimates:
        console.print(sentence, highlight=False)
    if timings:
        print_timings(stopwatch.timings(), console)
    if result.published:
        console.print(f"Release: {result.directory}")
    else:
        console.print(f"Not released. What was made, and why it was held back: {result.directory}")
    sys.exit(result.report.exit_code)


def _say_what_it_means(model: str | None, console: Any) -> None:
    """The model and repository a name stands for, before anything is fetched."""
    from exporter.checkpoints.open import published_name

    if (name := published_name(model)) is not None:
        console.print(f"{name}.", highlight=False)


def _given(context: click.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _quieten() -> None:
    """What packages we depend on say on import, about kernels nobody asked for, and as the process ends."""
    atexit.register(silence_farewells)
    for chatty in ("torchao", "torch.utils._pytree"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
