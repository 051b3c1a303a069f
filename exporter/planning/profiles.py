"""Finding and reading device profiles: by the name of one that ships, or by the path of a `.toml` file.

Read strictly, from `device_profiles/*.toml` or wherever it is. Not about what a profile says
(`exporter.planning.device_profile`) or what a model needs of a device (`exporter.planning.on_device`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import ProfileError
from exporter.planning.device_profile import DeviceProfile, check_profile
from exporter.planning.strict_toml import parse_toml, read_toml_text
from exporter.resources import data_directory
from runtimes.excerpt import excerpt, plain_excerpt
from runtimes.records import RecordError, from_plain

TARGETS: dict[str, tuple[str, ...]] = {
    "android": ("default-android",),
    "ios": ("default-ios",),
    "macos": ("default-macos",),
    "desktop": ("default-desktop",),
    "web": ("default-web",),
    "all": ("default-android", "default-ios", "default-macos", "default-desktop", "default-web"),
}
"""What `--target` means: names of the profiles that are served together."""

NEAREST = 3  # names an unknown one is answered with
LIKENESS = 0.5  # of two names, as difflib measures it


@dataclass(frozen=True)
class Target:
    """What one `--target` or `--profile` asks for: devices that are served together, by one release where
    their formats agree on a recipe."""

    name: str
    profiles: tuple[DeviceProfile, ...]


def profile_names(directory: Path | None = None) -> tuple[str, ...]:
    """Names of the profiles that are there, sorted."""
    return tuple(
        sorted(path.stem for path in (directory or data_directory("device_profiles")).glob("*.toml"))
    )


def load_profile(reference: str, directory: Path | None = None) -> DeviceProfile:
    """The profile of this name, from `directory` or the ones that come with the project, or the file of
    this path: anything that ends in .toml.

    Raises ProfileError for a name that is not there and for a file that is not a profile.
    """
    if reference.endswith(".toml"):
        path = Path(os.path.expanduser(reference))  # a home nobody has is left as it stands
        if not path.is_file():
            raise ProfileError(
                f"--profile {plain_excerpt(reference)}",
                "there is no such file",
                "correct the path, or name a device; `gemma-export profiles` lists them",
            )
        return read_profile(path, reference)
    directory = directory or data_directory("device_profiles")
    names = profile_names(directory)
    if reference not in names:
        raise ProfileError(
            f"profile {plain_excerpt(reference)}",
            f"there is no {directory.name}/{plain_excerpt(reference)}.toml",
            f"{_meant(reference, names)}; `gemma-export profiles` lists all {len(names)}, and a .toml file "
            "of your own is taken by its path",
        )
    return read_profile(directory / f"{reference}.toml", f"{directory.name}/{reference}.toml")


def load_target(name: str, directory: Path | None = None) -> Target:
    """The target of this name. Raises ProfileError for an unknown one."""
    if name not in TARGETS:
        raise ProfileError(
            f"--target {plain_excerpt(name)}", "there is no such target", f"use one of {', '.join(TARGETS)}"
        )
    return Target(name, tuple(load_profile(each, directory) for each in TARGETS[name]))


def load_device(reference: str, directory: Path | None = None) -> Target:
    """One device alone, as `--profile` asks for it. Raises ProfileError."""
    profile = load_profile(reference, directory)
    return Target(profile.name, (profile,))


def nearest_names(asked: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names somebody may have meant, the likeliest first; none where nothing is like it.

    "Pixel 9", "pixel9" and "pixle-9" mean pixel-9.
    """
    plain = "-".join(asked.lower().replace("_", " ").split())
    return tuple(difflib.get_close_matches(plain, list(names), NEAREST, LIKENESS))


def _meant(asked: str, names: tuple[str, ...]) -> str:
    """What to do about an unknown name, beginning with those it may have meant."""
    nearest = nearest_names(asked, names)
    return f"did you mean {' or '.join(nearest)}" if nearest else "name one that is there"


def read_profile(path: Path, called: str | None = None) -> DeviceProfile:
    """Read one profile file. called: what errors call it, None for its path. Raises ProfileError with the
    path of the key at fault."""
    where = plain_excerpt(called or path)
    try:
        raw = parse_toml(read_toml_text(path))
    except (OSError, ValueError) as error:
        raise ProfileError(where, f"cannot be read as TOML ({error})", "correct the file") from error
    try:
        profile = from_plain(DeviceProfile, raw, absent_is_none=True)
        check_profile(profile)
        if profile.name != path.stem:
            called = f"is {profile.name!r} and the file is called {excerpt(path.stem)}"
            raise RecordError("$.name", f"{called}, where {profile.name}.toml is expected")
    except RecordError as error:
        raise ProfileError(f"{where}: {error.at}", error.what, "correct the profile") from error
    return profile
