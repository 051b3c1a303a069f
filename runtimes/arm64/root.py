"""`Arm64Root`: a directory with a static QEMU, an ARM64 Debian's Python, and wheels for it.

No root rights, no mounts and no binfmt_misc: QEMU looks files up below the directory first (`-L`) and
everything else where it is. Not about making one (`prepare`), nor about running in it (`emulation`).
"""

from __future__ import annotations

import difflib
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runtimes.cache_directory import cache_directory
from runtimes.errors import RuntimeUnavailable
from runtimes.excerpt import plain_excerpt
from runtimes.records import RecordError, from_plain
from runtimes.strict_json import StrictJsonError, read_json_object

PREPARE = "python -m runtimes.arm64.prepare"
PACKAGES = ("numpy", "ai-edge-litert", "onnxruntime")
"""What the light install of every driver takes, numpy first."""

QEMU = "bin/qemu-aarch64"
SITE = "opt/site"
RECORD = "root.json"
CPU_LINE = re.compile(r"  (\S+)")


@dataclass(frozen=True)
class RootRecord:
    """What a root holds, in its `root.json`: written last, so that a root without one is not whole.

    python: path of the interpreter below the root. wheels: package to version.
    """

    qemu: str
    python: str
    wheels: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True)
class Arm64Root:
    """A root that is whole. `find_root` finds it."""

    directory: Path
    record: RootRecord

    @property
    def qemu(self) -> Path:
        return self.directory / QEMU

    @property
    def site(self) -> Path:
        return self.directory / SITE

    def python(self, cpu: str, statements: str, paths: Sequence[Path]) -> list[str]:
        """The command that executes statements on that CPU, with the wheels and `paths` to import from.

        Nothing of this machine's own Python is seen there, nor its environment's PYTHON variables.
        """
        interpreter = self.directory / self.record.python
        places = [str(self.site), *map(str, paths)]
        command = [str(self.qemu), "-cpu", cpu, "-L", str(self.directory), str(interpreter)]
        first = f"import sys; sys.path[:0] = {places!r}"
        return [*command, "-I", "-S", "-B", "-u", "-c", f"{first}; {statements}"]

    def cpus(self) -> tuple[str, ...]:
        """The CPUs its QEMU can be. Raises RuntimeUnavailable where it does not run here."""
        command = [str(self.qemu), "-cpu", "help"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            raise RuntimeUnavailable(
                f"{self.qemu}: QEMU does not run here ({error}); prepare the root again: {PREPARE}"
            ) from error
        if not (found := CPU_LINE.findall(done.stdout)):  # its exit code is 1 where it listed them, too
            said = plain_excerpt(done.stderr.strip() or "nothing")
            raise RuntimeUnavailable(
                f"{self.qemu}: QEMU lists no CPUs ({said}); prepare the root again: {PREPARE}"
            )
        return tuple(found)

    def require_cpu(self, name: str) -> None:
        """Raise RuntimeUnavailable, with the nearest names, for a CPU its QEMU does not know."""
        known = self.cpus()
        if name in known:
            return
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
        raise RuntimeUnavailable(f"--cpu {name}: QEMU knows no such CPU; name one of {', '.join(near)}")


def default_directory() -> Path:
    """Where a root is made and looked for."""
    return cache_directory() / "arm64"


def find_root(directory: Path | None = None) -> Arm64Root:
    """The root, by default the one in the cache.

    Raises RuntimeUnavailable where there is none, or one with other versions than are installed here: what
    it shows would be another runtime's. Says the command that makes it.
    """
    place = directory or default_directory()
    path = place / RECORD
    try:
        record = from_plain(RootRecord, read_json_object(path))
    except FileNotFoundError as error:
        raise RuntimeUnavailable(f"{place}: no ARM64 root is there; prepare it with {PREPARE}") from error
    except (OSError, StrictJsonError, RecordError) as error:
        raise RuntimeUnavailable(f"{path}: {error}; prepare the root again: {PREPARE}") from error
    root = Arm64Root(place, record)
    for needed in (root.qemu, place / record.python, root.site):
        if not needed.exists():
            raise RuntimeUnavailable(f"{needed}: is missing; prepare the root again: {PREPARE}")
    if record.wheels != (here := installed_versions()):
        raise RuntimeUnavailable(
            f"{place}: the ARM64 root holds {_listed(record.wheels)}, and installed here is "
            f"{_listed(here)}; prepare it again: {PREPARE}"
        )
    return root


def installed_versions() -> dict[str, str]:
    """The versions installed here of what a root holds; what is not installed is left out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _listed(wheels: dict[str, str]) -> str:
    return ", ".join(f"{package} {number}" for package, number in wheels.items())
