"""Which of a machine's apt sources are its Debian's own, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtimes.arm64.apt import SUITE, Apt, Archive, debian_archives
from runtimes.errors import RuntimeUnavailable

DEB822 = """\
# A mirror
Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/debian.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://sources.test/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
deb [arch=amd64 signed-by=/keys/old.gpg] http://old.test/debian bookworm main contrib
deb http://plain.test/debian stable main
# deb http://commented.test/debian bookworm main
deb http://vendor.test/linux bookworm stable
deb http://vendor.test/node nodistro main
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """An /etc/apt and, beside it, an os-release."""
    parts = tmp_path / "apt" / "sources.list.d"
    parts.mkdir(parents=True)
    (parts / "debian.sources").write_text(DEB822)
    (parts / "readme.txt").write_text("deb http://ignored.test/debian bookworm main")
    (tmp_path / "apt" / "sources.list").touch()
    (parts / "old.list").write_text(ONE_LINE)
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return tmp_path / "apt"


def test_only_archives_of_the_machines_own_release_are_taken(machine: Path) -> None:
    assert list(debian_archives(machine, machine.parent / "os-release")) == [
        Archive("http://mirror.test/debian", "/keys/debian.gpg"),
        Archive("http://old.test/debian", "/keys/old.gpg"),
        Archive("http://plain.test/debian", None),
    ]


def test_an_archive_is_asked_for_another_suite_with_its_own_key() -> None:
    archive = Archive("http://mirror.test/debian", "/keys/debian.gpg")
    assert archive.stanza(SUITE).splitlines() == [
        "Types: deb",
        "URIs: http://mirror.test/debian",
        "Suites: trixie",
        "Components: main",
        "Signed-By: /keys/debian.gpg",
    ]


def test_another_system_has_no_debian_archive(machine: Path, tmp_path: Path) -> None:
    (machine.parent / "os-release").write_text("ID=ubuntu\nVERSION_CODENAME=bookworm\n")
    (machine / "sources.list.d" / "old.list").unlink()
    with pytest.raises(RuntimeUnavailable, match="no source of this machine's Debian release"):
        Apt(tmp_path / "ours", machine, machine.parent / "os-release")


def test_a_machine_without_apt_is_told_what_to_do(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailable, match=r"apt-get is not here; prepare .* on a Debian machine"):
        Apt(tmp_path / "ours", machine, machine.parent / "os-release")


def test_what_cannot_be_fetched_is_said_with_apts_own_words(machine: Path, tmp_path: Path) -> None:
    (machine / "sources.list.d" / "debian.sources").unlink()
    (machine / "sources.list.d" / "old.list").write_text("deb file:/nowhere bookworm main\n")
    apt = Apt(tmp_path / "ours", machine, machine.parent / "os-release")
    with pytest.raises(RuntimeUnavailable, match=r"cannot fetch no-such-package of trixie .*nowhere"):
        apt.download(["no-such-package"])
