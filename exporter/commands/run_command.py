"""`gemma-export run`: a prompt continued by an artifact of a release, on this machine.

Not about generating (`exporter.running`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.commands.before_work import quieten
from exporter.commands.shared_options import TRACEBACK, as_directory, as_files
from exporter.exits import exit_codes
from runtimes.formats import FORMATS, Format

if TYPE_CHECKING:
    from exporter.running.placed_release import PlacedRelease
    from exporter.running.prompt_tokens import Speech
    from exporter.running.sampling import Choose
    from runtimes.session import Session


def _as_temperature(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    """click's ranges let NaN pass."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise click.BadParameter(f"{value} is no temperature; give 0 (greedy) or more, such as 0.7")
    return value


def _as_prompt(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("is not UTF-8; check the terminal's encoding") from error
    return value


@click.command("run")
@click.argument("directory", callback=as_directory)
@click.argument("prompt", callback=_as_prompt)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="Which artifact. Default: the first of the release whose runtime is installed.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    metavar="N",
    help="Stop here.",
)
@click.option(
    "--temperature",
    type=float,
    callback=_as_temperature,
    metavar="T",
    help="Choose by chance, the likelier the smaller T. Default: 0, always the most likely token.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    help="The same choices again; goes with --temperature.",
)
@click.option(
    "--no-template", is_flag=True, help="Give the prompt as it is, though there is a chat template."
)
@click.option(
    "--image",
    "images",
    callback=as_files,
    multiple=True,
    metavar="FILE",
    help="A picture that PROMPT is about; once for each. They come before the text, or where PROMPT has "
    "the model's placeholders, such as <start_of_image> or <|image|>.",
)
@click.option(
    "--audio",
    "sounds",
    callback=as_files,
    multiple=True,
    metavar="FILE",
    help="A sound that PROMPT is about; as --image, with the placeholder <|audio|>. Sounds come behind "
    "pictures.",
)
@TRACEBACK
def run_prompt_command(directory: Path, prompt: str, traceback: bool, **asked: Any) -> None:
    """Continue PROMPT with an artifact of the release in DIRECTORY, on this machine.

    Where the model has a chat template the prompt is a user's turn; a base model goes on with the text.
    With --image it is about pictures, which the artifact's image tower sees; with --audio about sounds,
    which its audio encoder hears.
    Prints what the model says as it says it, until a stop token, --max-tokens or the end of the context.
    A light install with one runtime does: pip install '.[run,run-onnx]' or '.[run,run-litert]'.
    """
    flags = RunFlags(**asked)
    with exit_codes(traceback):
        quieten()
        from exporter.errors import UsageError
        from exporter.running.placed_release import PlacedRelease

        if flags.seed is not None and flags.temperature is None:
            raise UsageError("--seed", "changes nothing without --temperature", "give both, or neither")
        release = PlacedRelease.open(directory)
        if flags.images or flags.sounds:
            _run_with_media(release, prompt, flags)
        else:
            _run(release, prompt, flags)


@dataclass(frozen=True)
class RunFlags:
    """As the command has them."""

    format: Format | None
    max_tokens: int
    temperature: float | None
    seed: int | None
    no_template: bool
    images: tuple[Path, ...]
    sounds: tuple[Path, ...]

    @property
    def choose(self) -> Choose:
        from exporter.running.sampling import sampler

        return sampler(self.temperature or 0.0, self.seed)


def _run(release: PlacedRelease, prompt: str, flags: RunFlags) -> None:
    from exporter.running.generation import continued, require_room_after
    from exporter.running.media import require_no_place
    from exporter.running.placed_release import first_that_opens
    from exporter.running.prompt_tokens import speech_of

    artifacts = release.decoders(flags.format)
    require_no_place(release, prompt, given=())
    speech = speech_of(release)
    tokens = speech.prompt(prompt, plain=flags.no_template)
    _tell(speech.remarks)
    with first_that_opens(release, artifacts, _note) as (_, session):
        require_room_after(session, tokens)
        said = continued(session, tokens, flags.choose, speech.tokens.stop_tokens)
        _say(said, speech, session, flags)


def _run_with_media(release: PlacedRelease, prompt: str, flags: RunFlags) -> None:
    from exporter.running import media
    from exporter.running.encoding import first_that_takes, openings_for, placed, require_described
    from exporter.running.generation import continued_with_rows
    from exporter.running.prompt_tokens import speech_of

    files = media.MediaFiles(flags.images, flags.sounds)
    openings = openings_for(release, flags.format, files.kinds)
    media.require_no_place(release, prompt, files.kinds)
    require_described(openings)
    given = media.prepared_media(release, files)
    speech = speech_of(release)
    spelling = media.spelling_of(release, speech.tokenizer)
    asked = speech.media_prompt(prompt, given.rows, spelling, plain=flags.no_template)
    media.require_room_for_media(openings[0].artifact.context, asked, given)
    _tell((*speech.remarks, *given.remarks))
    with first_that_takes(release, openings, given, _note) as (session, rows):
        stops = speech.tokens.stop_tokens
        said = continued_with_rows(session, asked.tokens, placed(asked, rows), flags.choose, stops)
        _say(said, speech, session, flags)


def _say(said: Iterator[int], speech: Speech, session: Session, flags: RunFlags) -> None:
    from exporter.running.generation import text_of

    _write(text_of(islice(said, min(flags.max_tokens, sys.maxsize)), speech.tokenizer))
    if session.position == session.facts.context:
        _note(f"The context of {session.facts.context} tokens ended here.")


def _write(pieces: Iterator[str]) -> None:
    """Each piece as it comes. A terminal gets no control characters, which the model's text may hold."""
    from exporter.views.wording import visible

    out = sys.stdout
    shown = visible if out.isatty() else str
    if isinstance(out, TextIOWrapper):
        out.reconfigure(errors="replace")  # a terminal that knows ASCII alone still gets the rest
    try:
        for piece in pieces:
            out.write(shown(piece))
            out.flush()
    except KeyboardInterrupt as error:
        out.write("\n")
        error.add_note("What was said until then stands above.")
        raise
    out.write("\n")
    out.flush()


def _tell(remarks: Iterable[str]) -> None:
    for remark in remarks:
        _note(remark)


def _note(words: str) -> None:
    click.echo(words, err=True)
