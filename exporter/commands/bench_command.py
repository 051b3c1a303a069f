"""`gemma-export bench`: how fast this machine runs the artifacts of a release.

Not about measuring (`exporter.running.bench`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.commands.before_work import quieten
from exporter.commands.shared_options import TRACEBACK, as_directory
from exporter.console import make_console, progress_on
from exporter.exits import NOT_CHECKED, exit_codes
from runtimes.formats import FORMATS, Format

if TYPE_CHECKING:
    from exporter.running.bench import Bench
    from exporter.running.speed import PaceRuns


MOST_THREADS = 1024  # runtimes start as many as they are told, and thousands never come to an end
MOST_RUNS = 1000  # each has a token at least, and no median of more says more


@click.command("bench")
@click.argument("directory", callback=as_directory)
@click.option("--format", type=click.Choice(FORMATS), help="This artifact alone. Default: all, one by one.")
@click.option(
    "--prefill-tokens",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    metavar="N",
    help="Read.",
)
@click.option(
    "--decode-tokens", type=click.IntRange(min=1), default=64, show_default=True, metavar="N", help="Write."
)
@click.option(
    "--runs",
    type=click.IntRange(min=1, max=MOST_RUNS),
    default=5,
    show_default=True,
    metavar="N",
    help="After one to warm up.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1, max=MOST_THREADS),
    default=2,
    show_default=True,
    metavar="N",
    help="LiteRT's and ONNX Runtime's; the MIL evaluator takes numpy's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every run as JSON, and nothing else.")
@TRACEBACK
def bench_command(
    directory: Path, format: Format | None, as_json: bool, traceback: bool, **asked: Any
) -> None:
    """Measure prefill and decode of every artifact in DIRECTORY, in tokens a second of this machine.

    Median, lowest and highest of several runs, each from an empty cache. They say nothing of a phone or of
    a Mac's own runtime. A light install with the runtimes' extras does.

    Exit codes: 0 all were measured, 2 refused, 3 an artifact's runtime is not installed.
    """
    with exit_codes(traceback):
        quieten()
        from exporter.running.bench import measure_release
        from exporter.running.placed_release import PlacedRelease
        from exporter.running.speed import SpeedOrder

        release = PlacedRelease.open(directory)
        artifacts = release.decoders(format)
        console, order = make_console(), SpeedOrder(**asked)
        if as_json:
            found = measure_release(release, artifacts, order, lambda what, done, total: None)
            click.echo(found.to_json(), nl=False)
        else:
            with progress_on(console) as progress:
                found = measure_release(release, artifacts, order, progress)
            _show(found, console)
        sys.exit(NOT_CHECKED if any(each.not_run for each in found.artifacts) else 0)


def _show(found: Bench, console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from exporter.views.fitted_table import print_fitted
    from exporter.views.wording import one_line

    console.print(Text(found.label), soft_wrap=True)
    table = Table("Artifact", "Run by", "Prefill tok/s", "Decode tok/s")
    for each in found.artifacts:
        if each.speed is None:
            cells: tuple[str, ...] = (f"not run: {each.not_run}", "–", "–")
        else:
            cells = (each.run_by, _pace(each.speed.prefill), _pace(each.speed.decode))
        table.add_row(*(Text(one_line(cell)) for cell in (each.artifact, *cells)))
    print_fitted(table, console)
    console.print(Text(found.says_nothing_of), soft_wrap=True)


def _pace(of: PaceRuns) -> str:
    return f"{of.median:.1f} ({of.lowest:.1f} to {of.highest:.1f}; {of.tokens} tokens)"
