"""Making the root that ARM64 artifacts run in: `python -m runtimes.arm64.prepare`.

    (1) Debian 13's static QEMU, and Python for ARM64 with what it depends on, unpacked
    (2) the runtimes' wheels for it, in the versions that are installed here
    (3) Python started and every wheel imported on the emulated CPU
    (4) the record, last; the directory takes its place whole or not at all
It lies in the cache directory, made in seconds where the mirror is near. Nothing is installed on this
machine, and no root rights are needed. Not about running artifacts (`emulation`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from pathlib import Path

from runtimes.arm64.apt import Apt, extract
from runtimes.arm64.root import (
    PACKAGES,
    QEMU,
    RECORD,
    SITE,
    Arm64Root,
    RootRecord,
    default_directory,
    installed_versions,
)
from runtimes.errors import RuntimeUnavailable

DEBIAN = ("python3-minimal:arm64", "libpython3-stdlib:arm64", "libstdc++6:arm64")
MODULES = {
    "numpy": "numpy",
    "ai-edge-litert": "ai_edge_litert.compiled_model",
    "onnxruntime": "onnxruntime",
}
OLDEST_GLIBC, NEWEST_GLIBC = 17, 41  # minor versions of the manylinux tags that Debian 13 can run

Say = Callable[[str], None]


def prepare(directory: Path, say: Say) -> Arm64Root:
    """Make the root, in place of one that is there. Raises RuntimeUnavailable for what is in the way."""
    if not sys.platform.startswith("linux"):
        raise RuntimeUnavailable(f"QEMU's user emulation needs Linux, and this is {sys.platform}; use one")
    if directory.exists() and not (directory / RECORD).is_file() and any(directory.iterdir()):
        raise RuntimeUnavailable(f"{directory}: holds something else than an ARM64 root; move it away")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{directory.name}-", dir=directory.parent) as scratch:
        place = Path(scratch) / "root"
        place.mkdir()
        # (1)
        python, qemu = _unpack_debian(Path(scratch) / "apt", place, say)
        # (2)
        _install_wheels(place / SITE, python, say)
        root = Arm64Root(place, RootRecord(qemu, f"usr/bin/{python}", installed_versions()))
        # (3)
        _try(root, say)
        # (4)
        (place / RECORD).write_text(root.record.to_json(), encoding="utf-8")
        if directory.exists():
            directory.rename(Path(scratch) / "old")
        place.rename(directory)
    return Arm64Root(directory, root.record)


def _unpack_debian(scratch: Path, place: Path, say: Say) -> tuple[str, str]:
    """Names of Python ("python3.13") and of QEMU's version."""
    scratch.mkdir()
    apt = Apt(scratch)
    emulator = f"qemu-user:{apt.architecture}"
    say(f"Debian packages: {emulator} {' '.join(DEBIAN)}")
    qemu = ""
    for package in apt.download((*DEBIAN, emulator)):
        name, number, _ = package.stem.split("_")
        if name == "qemu-user":
            qemu = number.rpartition("%3a")[2].partition("+")[0]  # of "1%3a10.0.2+ds-2"
            extract(package, scratch / "qemu")
        else:
            extract(package, place)
    if not (place / "lib").exists():
        (place / "lib").symlink_to("usr/lib")  # the one link of base-files that the loader's path needs
    binary = place / QEMU
    binary.parent.mkdir()
    shutil.move(scratch / "qemu/usr/bin/qemu-aarch64", binary)
    return (place / "usr/bin/python3").readlink().name, qemu


def _install_wheels(site: Path, python: str, say: Say) -> None:
    wheels = [f"{package}=={number}" for package, number in installed_versions().items()]
    say(f"wheels: {' '.join(wheels)}")
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as constraints:
        # What the wheels need beside them comes in the versions that are here as well.
        constraints.writelines(f"{each.name}=={each.version}\n" for each in distributions())
        constraints.flush()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site)]
        command += ["--only-binary=:all:", "--implementation", "cp", "--constraint", constraints.name]
        command += ["--python-version", python.removeprefix("python")]
        command += [
            argument for tag in (*tags, "manylinux2014_aarch64") for argument in ("--platform", tag)
        ]
        _explained([*command, *wheels], "pip cannot fetch the wheels for ARM64")


def _try(root: Arm64Root, say: Say) -> None:
    modules = [MODULES[package] for package in PACKAGES if package in root.record.wheels]
    say(f"imports on the emulated CPU: {' '.join(modules)}")
    command = root.python("max", f"import {', '.join(modules)}", ())
    _explained(command, "the root's Python does not run")


def _explained(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).split())[-600:]
        raise RuntimeUnavailable(f"{what} (exit {done.returncode}: {said}); try again, or tell us")


def _to_stderr(words: str) -> None:
    sys.stderr.write(f"{words}\n")


def run_command(arguments: Sequence[str]) -> int:
    """The command: 0 with the root's place, 2 with what is in the way."""
    if arguments:
        sys.stderr.write(f"{__doc__}\n")
        return 0 if set(arguments) <= {"-h", "--help"} else 2
    begin = time.perf_counter()
    try:
        root = prepare(default_directory(), _to_stderr)
    except RuntimeUnavailable as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    seconds = time.perf_counter() - begin
    sys.stdout.write(f"{root.directory}: QEMU {root.record.qemu}, {root.record.python}, {seconds:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
