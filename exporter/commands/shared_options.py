"""Flags that several commands have, and how what was given becomes a path or a size.

Not about what a command does with them.
"""

from __future__ import annotations

from pathlib import Path

import click

from exporter.byte_size import parse_bytes
from runtimes.excerpt import plain_excerpt
from runtimes.formats import FORMATS


def as_bytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A size such as 8GiB."""
    try:
        return None if value is None else parse_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def as_directory(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """A path: not an empty one, which would be the current directory, and in UTF-8, as all names in a
    release are and vendors' runtimes want."""
    return None if value is None else _path(value, "a directory")


def as_directories(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[Path, ...]:
    """The same, of each."""
    return tuple(_path(value, "a directory") for value in values)


def as_file(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """The same, of a file's."""
    return None if value is None else _path(value, "a file")


def as_files(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[Path, ...]:
    """The same, of each."""
    return tuple(_path(value, "a file") for value in values)


def _path(value: str, what: str) -> Path:
    if not value:
        raise click.BadParameter(f"is empty; name {what}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{plain_excerpt(value)} is not UTF-8; give another name") from error
    return Path(value)


ACCELERATORS = click.option(
    "--accelerators/--no-accelerators",
    default=True,
    help="Execute on the GPU and other paths that are here too, or on the CPU alone, which the report then "
    "says. Default: with them; `doctor --accelerators` lists them.",
)
ADAPTER = click.option(
    "--adapter", callback=as_directory, metavar="DIR", help="A PEFT LoRA directory to merge into it."
)
TARGETS = ("android", "ios", "macos", "desktop", "web", "all")
TARGET = click.option(
    "--target",
    "targets",
    type=click.Choice(TARGETS),
    multiple=True,
    help="Kind of device: formats, recipe, context; may be given again.",
)
PROFILE = click.option(
    "--profile",
    "profiles",
    metavar="NAME",
    multiple=True,
    help="One device instead, e.g. pixel-9, or a .toml file of your own; may be given again. `gemma-export "
    "profiles` lists them.",
)
RECIPE = click.option(
    "--recipe",
    metavar="NAME",
    help="int8, int4, int4-zp, int4-fast, float, as-stored, mixed:SIZE (mixed:246MB for all "
    "weights, those of towers too, or bits a weight of the text model: mixed:4.8), or a .toml file. "
    "Default: the best that fits the devices, which `gemma-export plan` says. "
    "Formats that cannot carry it get the one it names instead (int4 for int4-zp), in a release of their "
    "own; where none of the formats can carry it, it is refused.",
)
CONTEXT = click.option(
    "--context",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tokens the KV cache holds. Default: the devices', or fewer where nothing else fits.",
)
FORMAT = click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="Write this format instead of the devices'; may be given again.",
)
COMPONENTS = click.option(
    "--components",
    type=click.Choice(("text", "text,vision", "text,audio", "text,vision,audio")),
    help="What is taken of the checkpoint. Default: all there is; what is not named, the image tower "
    "(vision) or the audio encoder, is left out, and the report says so.",
)
IMAGE_TOKENS = click.option(
    "--image-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Soft tokens of an image at most, of a Gemma 4: 70, 140, 280, 560 or 1120. More see finer, and "
    "take longer and more memory. Default: the devices', or what the checkpoint's processor makes of one.",
)
CALIBRATION = click.option(
    "--calibration",
    multiple=True,
    callback=as_files,
    metavar="FILE",
    help="Text that codes are fitted to, instead of what ships: UTF-8, or conversations in a .json; may be "
    "given again. Never text you judge the result on.",
)
MODEL = click.option(
    "--model",
    metavar="REF",
    help="A Hugging Face directory, a .gguf file, or a published Gemma to fetch from the Hugging Face Hub: "
    "2b, 9b, gemma-3-4b-it, google/gemma-4-E2B@REVISION and the like. Default: the sample, Gemma 3 270M.",
)
TIMINGS = click.option("--timings", is_flag=True, help="Say where the time went, step by step.")
TRACEBACK = click.option("--traceback", is_flag=True, help="Show where an unexpected error came from.")
