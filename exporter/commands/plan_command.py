"""`gemma-export plan`: what an export would make for each device, and why, before any work.

Not about planning (`exporter.planning`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from exporter.commands.before_work import quieten, say_what_it_means
from exporter.commands.device_names import refuse_blanks
from exporter.commands.shared_options import (
    ADAPTER,
    CONTEXT,
    FORMAT,
    MODEL,
    PROFILE,
    RECIPE,
    TARGET,
    TRACEBACK,
)
from exporter.console import make_console
from exporter.exits import exit_codes
from runtimes.formats import Format


@click.command("plan")
@click.argument("words", nargs=-1, metavar="")
@TARGET
@PROFILE
@MODEL
@ADAPTER
@RECIPE
@CONTEXT
@FORMAT
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON, with a key for a cache.")
@TRACEBACK
def plan_command(
    words: tuple[str, ...],
    as_json: bool,
    traceback: bool,
    model: str | None,
    adapter: Path | None,
    **asked: tuple[str, ...] | str | int | None,
) -> None:
    """Say what an export would make for each device, and why, without any work.

    For each device: the recipe and the context that fit best and every better one with what it missed,
    bytes on disk, KV cache, memory at the peak by component against what an app may use, decode speed, and
    the verdict. For each release what it holds; what the export itself takes of memory and disk. Estimates
    from shapes: no weights are read, and a published model is not fetched. Without --target and --profile:
    every device there is a profile of.

    Exit codes: 0 every device is served, 1 on some nothing fits, 2 refused.
    """
    with exit_codes(traceback):
        refuse_blanks(asked["profiles"], words)
        quieten()
        from exporter.planning.candidates import AskedFor
        from exporter.planning.outlook import PlanOrder, look_ahead
        from exporter.planning.profiles import load_device, load_target, profile_names
        from exporter.planning.recipe import load_recipe

        profiles: tuple[str, ...] = asked["profiles"]  # type: ignore[assignment]
        kinds: tuple[str, ...] = asked["targets"]  # type: ignore[assignment]
        formats: tuple[Format, ...] = asked["formats"]  # type: ignore[assignment]
        named = [load_target(each) for each in kinds] + [load_device(each) for each in profiles]
        targets = named or [load_device(each) for each in profile_names()]
        recipe, context = asked["recipe"], asked["context"]
        chosen = None if recipe is None else load_recipe(str(recipe))
        console = make_console()
        if not as_json:
            say_what_it_means(model, console)
        wanted = AskedFor(chosen, context if isinstance(context, int) else None, formats)
        outlook = look_ahead(PlanOrder(model, adapter, targets, wanted))
        if as_json:
            from runtimes.records import to_plain

            click.echo(json.dumps(to_plain(outlook), indent=2, ensure_ascii=False))
        else:
            from exporter.views.plan_tables import print_outlook

            print_outlook(outlook, console)
        sys.exit(0 if outlook.all_fit else 1)
