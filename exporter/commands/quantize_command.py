"""`gemma-export quantize`: a quantised checkpoint alone.

Not about making it (`exporter.quantizing`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.commands.before_work import quieten, say_what_it_means
from exporter.commands.shared_options import (
    ADAPTER,
    CALIBRATION,
    COMPONENTS,
    MODEL,
    TIMINGS,
    TRACEBACK,
    as_directory,
)
from exporter.console import make_console, print_timings, progress_on
from exporter.exits import exit_codes
from exporter.stopwatch import Stopwatch

if TYPE_CHECKING:
    from exporter.quantizing import QuantizedAlone


@click.command("quantize")
@MODEL
@ADAPTER
@click.option(
    "--recipe",
    required=True,
    metavar="NAME",
    help="int8, int4, int4-zp, int4-fast, float, as-stored, mixed:SIZE as for an export, or a .toml file.",
)
@COMPONENTS
@CALIBRATION
@click.option(
    "--output", "-o", required=True, callback=as_directory, metavar="DIR", help="Where the checkpoint goes."
)
@click.option("--force", is_flag=True, help="Replace a quantised checkpoint that is there.")
@TIMINGS
@TRACEBACK
def quantize_command(output: Path, timings: bool, traceback: bool, **asked: Any) -> None:
    """Make the quantised checkpoint alone, without artifacts.

    DIR gets one safetensors file a matrix in the layout of compressed-tensors, config.json, and the
    tokenizer's files. It appears when all of it is there; what a killed run had finished waits beside it,
    in .DIR.work, and the same command goes on from there to the same bytes. Nothing is run or compared:
    `gemma-export compare` does that.

    Exit codes are an export's: 0 made, 2 refused, 70 a defect of gemma-export.
    """
    with exit_codes(traceback):
        quieten()
        from exporter.planning.recipe import load_recipe

        console = make_console()
        load_recipe(asked["recipe"])  # refuses before anything heavy is imported
        say_what_it_means(asked["model"], console)
        stopwatch = Stopwatch()
        with stopwatch.step("import packages"):
            from exporter.quantization.layer_progress import LAYERS_DONE
            from exporter.quantizing import QuantizeOrder, quantize_alone

        with progress_on(console, frozenset({LAYERS_DONE})) as progress:
            made = quantize_alone(QuantizeOrder(output=output, **asked), progress, stopwatch)
        _say_what_was_made(made, console)
        if timings:
            print_timings(stopwatch.timings(), console)


def _say_what_was_made(made: QuantizedAlone, console: Any) -> None:
    schemes = ", ".join(f"{count} {name}" for name, count in sorted(made.scheme_counts.items()))
    kept = f", the codes of {made.taken_over} as the source has them" if made.taken_over else ""
    for line in (
        f"{made.model}, recipe {made.recipe}: matrices by scheme: {schemes}{kept}.",
        f"{made.size.nbytes:,} bytes of tensors, {made.size.bits:.2f} bits a weight, "
        f"{made.size.linear_bits:.2f} in the linears.",
        f"Quantised checkpoint: {made.directory}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
