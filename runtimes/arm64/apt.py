"""Debian packages without being root: an apt of our own, told where to look by this machine's.

Its sources are this machine's with another suite, so that mirrors and keys are the ones somebody here
chose. Packages are unpacked and no maintainer script runs. Not about which packages (`prepare`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import RuntimeUnavailable

SUITE = "trixie"
"""Debian 13: its QEMU 10 runs both runtimes. QEMU 7.2, Debian 12's, crashes in either as a model loads."""

APT = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)"
)


@dataclass(frozen=True)
class Archive:
    """One archive of Debian's, as a deb822 stanza's fields say it."""

    uris: str
    signed_by: str | None

    def stanza(self, suite: str) -> str:
        fields = {"Types": "deb", "URIs": self.uris, "Suites": suite, "Components": "main"}
        if self.signed_by is not None:
            fields["Signed-By"] = self.signed_by
        return "".join(f"{name}: {value}\n" for name, value in fields.items())


class Apt:
    """An apt with lists, cache and status of its own below `directory`, for two architectures.

    Raises RuntimeUnavailable where this machine has no apt or no Debian archive.
    """

    def __init__(self, directory: Path, machine: Path = APT, os_release: Path = OS_RELEASE) -> None:
        for tool in ("apt-get", "dpkg", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise RuntimeUnavailable(
                    f"{tool} is not here; prepare the ARM64 root on a Debian machine and copy it from there"
                )
        archives = tuple(dict.fromkeys(debian_archives(machine, os_release)))
        if not archives:
            raise RuntimeUnavailable(
                f"{machine}: no source of this machine's Debian release; add one to its apt sources"
            )
        self._directory = directory
        self._config = directory / "apt.conf"
        self.architecture = _run(["dpkg", "--print-architecture"]).strip()
        parts = directory / "sources"
        for needed in (parts, directory / "state/lists/partial", directory / "cache/archives/partial"):
            needed.mkdir(parents=True)
        (directory / "state/status").touch()
        sources = "\n".join(archive.stanza(SUITE) for archive in archives)
        (parts / "debian.sources").write_text(sources, encoding="utf-8")
        self._config.write_text(self._settings(parts), encoding="utf-8")

    def download(self, packages: Sequence[str]) -> list[Path]:
        """The packages ("name:architecture") and what they depend on, as files."""
        update = self._apt("update")
        done = self._apt("install", "--yes", "--download-only", "--no-install-recommends", *packages)
        if done.returncode != 0:
            said = " ".join((update.stderr + done.stderr).split())
            raise RuntimeUnavailable(
                f"apt-get cannot fetch {', '.join(packages)} of {SUITE} ({said[-600:]}); "
                "see that this machine's apt sources can be reached"
            )
        return sorted((self._directory / "cache/archives").glob("*.deb"))

    def _apt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["env", f"APT_CONFIG={self._config}", "apt-get", "--quiet", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _settings(self, parts: Path) -> str:
        architectures = " ".join(f'"{each}";' for each in dict.fromkeys(("arm64", self.architecture)))
        place = self._directory
        return "\n".join(
            (
                f'Dir::State "{place}/state";',
                f'Dir::State::status "{place}/state/status";',
                f'Dir::Cache "{place}/cache";',
                'Dir::Etc::sourcelist "/dev/null";',
                f'Dir::Etc::sourceparts "{parts}";',
                'Dir::Etc::preferences "/dev/null";',
                'Dir::Etc::preferencesparts "/dev/null";',
                'APT::Architecture "arm64";',
                f"APT::Architectures {{ {architectures} }};",
                'APT::Sandbox::User "";',
                'Acquire::Languages "none";',
                "",
            )
        )


def extract(package: Path, root: Path) -> None:
    """A package's files below `root`; none of its scripts runs."""
    _run(["dpkg-deb", "--extract", str(package), str(root)])


def debian_archives(machine: Path = APT, os_release: Path = OS_RELEASE) -> Iterator[Archive]:
    """The archives that hold this machine's own Debian release, from its apt sources."""
    suites = {"stable", _codename(os_release)}
    listings = [machine / "sources.list", *sorted((machine / "sources.list.d").glob("*"))]
    for listing in (each for each in listings if each.is_file()):
        text = listing.read_text(encoding="utf-8", errors="replace")
        if listing.suffix == ".sources":
            found = _in_stanzas(text, suites)
        elif listing.suffix == ".list":
            found = _in_lines(text, suites)
        else:
            continue
        yield from found


def _in_stanzas(text: str, suites: set[str]) -> Iterator[Archive]:
    for stanza in re.split(r"\n\s*\n", text):
        lines = (line for line in stanza.splitlines() if not line.startswith("#"))
        pairs = (line.partition(":") for line in lines if not line[:1].isspace())
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        ours = suites & set(fields.get("suites", "").split())
        if ours and "deb" in fields.get("types", "").split() and _has_main(fields.get("components", "")):
            yield Archive(fields["uris"], fields.get("signed-by") or None)


def _in_lines(text: str, suites: set[str]) -> Iterator[Archive]:
    for line in text.splitlines():
        found = ONE_LINE.match(line.strip())
        if found and found["suite"] in suites and _has_main(found["components"]):
            options = dict(each.partition("=")[::2] for each in (found["options"] or "").split())
            yield Archive(found["uri"], options.get("signed-by"))


def _has_main(components: str) -> bool:
    return "main" in components.split()


def _codename(os_release: Path) -> str:
    """Of this machine's Debian, "" where it is none."""
    if not os_release.is_file():
        return ""
    lines = os_release.read_text(encoding="utf-8", errors="replace").splitlines()
    fields = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}
    return fields.get("VERSION_CODENAME", "") if fields.get("ID") == "debian" else ""


def _run(command: Sequence[str]) -> str:
    """What a command printed. Raises RuntimeUnavailable with what it said when it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-600:]
        raise RuntimeUnavailable(f"{command[0]} failed ({said}); see that there is room and try again")
    return done.stdout
