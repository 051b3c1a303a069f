"""Names of devices on a command line, where a shell makes two words of "Pixel 9".

Not about which devices there are (`exporter.planning.profiles`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from runtimes.excerpt import plain_excerpt


def refuse_blanks(profiles: Any, words: Sequence[str]) -> None:
    """Raise UsageError for words no command asked for, with what the last profile may have meant."""
    if not words:
        return
    from exporter.planning.profiles import nearest_names, profile_names

    rest = " ".join(words)
    if profiles and (meant := nearest_names(f"{profiles[-1]} {rest}", profile_names())):
        asked = plain_excerpt(f"{profiles[-1]} {rest}")
        raise click.UsageError(
            f"--profile {asked}: a shell makes two words of a name with a blank; did you mean "
            f"{' or '.join(meant)}?"
        )
    raise click.UsageError(f"nothing is called {plain_excerpt(rest)} here")


class DeviceNamingGroup(click.Group):
    """A group that tells a subcommand's misspelling from the second half of a device's name."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if context.params.get("profiles") and self.get_command(context, arguments[0]) is None:
            refuse_blanks(context.params["profiles"], arguments[:1])
        return super().resolve_command(context, arguments)
