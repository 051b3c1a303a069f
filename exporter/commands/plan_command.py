"""`gemma-export plan`: what an export would make for each device, and why, before any work.

Not about planning (`exporter.planning`).
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import click

from exporter.commands.before_work import quieten, say_what_it_means
from exporter.commands.device_names import refuse_blanks
from exporter.commands.shared_options import (
    ADAPTER,
    COMPONENTS,
    CONTEXT,
    FORMAT,
    IMAGE_TOKENS,
    MODEL,
    PROFILE,
    RECIPE,
    TARGET,
    TRACEBACK,
)
from exporter.console import make_console
from exporter.exits import exit_codes


@click.command("plan")
@click.argument("words", nargs=-1, metavar="")
@TARGET
@PROFILE
@MODEL
@ADAPTER
@RECIPE
@CONTEXT
@FORMAT
@COMPONENTS
@IMAGE_TOKENS
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON, with a key for a cache.")
@TRACEBACK
def plan_command(words: tuple[str, ...], as_json: bool, traceback: bool, **asked: Any) -> None:
    """Say what an export would make for each device, and why, without any work.

    For each device: the recipe and the context that fit best and every better one with what it missed,
    bytes on disk, KV cache, memory at the peak by component against what an app may use, decode speed, and
    the verdict. For each release what it holds; what the export itself takes of memory and disk. Estimates
    from shapes: no weights are read, and a published model is not fetched. Without --target and --profile:
    every device there is a profile of.

    Exit codes: 0 every device is served, if only with what may not fit, 1 on some nothing fits, 2 refused.
    """
    refuse_blanks(asked["profiles"], words)
    with exit_codes(traceback):
        quieten()
        from exporter.planning.outlook import PlanOrder, look_ahead
        from exporter.planning.profiles import profile_names
        from exporter.request import Flags, make_request

        flags = Flags(**asked)
        if not (flags.targets or flags.profiles):
            flags = replace(flags, profiles=profile_names())
        request = make_request(flags)
        console = make_console()
        if not as_json:
            say_what_it_means(flags.model, console)
        outlook = look_ahead(
            PlanOrder(flags.model, flags.adapter, request.targets, request.asked, flags.wanted)
        )
        if as_json:
            from runtimes.records import to_plain

            click.echo(json.dumps(to_plain(outlook), indent=2, ensure_ascii=False))
        else:
            from exporter.views.plan_tables import print_outlook

            print_outlook(outlook, console)
        sys.exit(0 if outlook.all_fit else 1)
