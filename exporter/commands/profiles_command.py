"""`gemma-export profiles`: the devices there are profiles of.

Not about what is in a profile (`exporter.planning.device_profile`).
"""

from __future__ import annotations

import json

import click

from exporter.commands.shared_options import TRACEBACK
from exporter.console import make_console
from exporter.exits import exit_codes


@click.command("profiles")
@click.option("--json", "as_json", is_flag=True, help="Every fact of every profile, with its source.")
@TRACEBACK
def profiles_command(as_json: bool, traceback: bool) -> None:
    """List the devices that --profile takes, with what is known of them.

    A fact is sourced where the source it names was read, and unverified where it is from memory or a rule
    of thumb. A profile of your own is a .toml file like those in device_profiles/.
    """
    with exit_codes(traceback):
        from exporter.planning.profiles import load_profile, profile_names

        profiles = [load_profile(name) for name in profile_names()]
        if as_json:
            from runtimes.records import to_plain

            click.echo(json.dumps([to_plain(each) for each in profiles], indent=2, ensure_ascii=False))
            return
        from exporter.views.plan_tables import print_profiles

        print_profiles(profiles, make_console())
