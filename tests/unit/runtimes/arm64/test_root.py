"""A root is found whole, in this installation's versions, or the error says how to make one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtimes.arm64.prepare import prepare, run_command
from runtimes.arm64.root import PREPARE, RECORD, find_root
from runtimes.errors import RuntimeUnavailable
from tests.unit.runtimes.arm64.conftest import RootOf


def test_a_whole_root_is_found(root_of: RootOf) -> None:
    root = root_of("exit 0")
    assert find_root(root.directory) == root


def test_a_root_is_looked_for_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        RuntimeUnavailable, match=f"{tmp_path}/gemma-export/arm64: no ARM64 root .* {PREPARE}"
    ):
        find_root()


def test_a_root_without_its_emulator_is_refused_by_its_path(root_of: RootOf) -> None:
    root = root_of("exit 0")
    root.qemu.unlink()
    with pytest.raises(RuntimeUnavailable, match=f"{root.qemu}: is missing; .*{PREPARE}"):
        find_root(root.directory)


def test_a_root_of_other_versions_is_refused_with_both(root_of: RootOf) -> None:
    root = root_of("exit 0")
    record = replace(root.record, wheels={**root.record.wheels, "onnxruntime": "1.31.0"})
    (root.directory / RECORD).write_text(record.to_json())
    with pytest.raises(RuntimeUnavailable, match=r"holds .*onnxruntime 1\.31\.0, and installed here is"):
        find_root(root.directory)


def test_a_damaged_record_is_refused(root_of: RootOf) -> None:
    root = root_of("exit 0")
    (root.directory / RECORD).write_text('{"qemu": 10}')
    with pytest.raises(RuntimeUnavailable, match=f"{RECORD}: .*qemu.*{PREPARE}"):
        find_root(root.directory)


def test_a_known_cpu_is_accepted(root_of: RootOf) -> None:
    root_of("exit 0").require_cpu("cortex-a76")


@pytest.mark.parametrize(
    ("name", "near"),
    [("cortex-a77", "cortex-a76"), ("Cortex-A55", "cortex-a55"), ("m4", "cortex-a55, cor")],
)
def test_an_unknown_cpu_is_refused_with_the_nearest_names(name: str, near: str, root_of: RootOf) -> None:
    with pytest.raises(
        RuntimeUnavailable, match=f"--cpu {name}: QEMU knows no such CPU; name one of {near}"
    ):
        root_of("exit 0").require_cpu(name)


def test_an_emulator_that_lists_nothing_is_said_to_be_broken(root_of: RootOf) -> None:
    root = root_of("exit 0")
    root.qemu.write_text("#!/bin/sh\necho no such instruction >&2\nexit 1\n")
    with pytest.raises(RuntimeUnavailable, match=r"lists no CPUs .no such instruction.; prepare"):
        root.cpus()


def test_an_emulator_that_does_not_start_is_said_to_be_broken(root_of: RootOf) -> None:
    root = root_of("exit 0")
    root.qemu.write_bytes(b"\x7fELF of another machine")
    with pytest.raises(RuntimeUnavailable, match="QEMU does not run here"):
        root.cpus()


def test_a_root_is_never_made_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RuntimeUnavailable, match="holds something else"):
        prepare(tmp_path, print)
    assert (tmp_path / "thesis.tex").exists()


def test_what_is_in_the_way_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run_command([]) == 2
    assert (
        capsys.readouterr().err == "error: QEMU's user emulation needs Linux, and this is darwin; use one\n"
    )


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--root"], 2), (["root"], 2)])
def test_any_argument_is_answered_with_what_it_does(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == code
    assert PREPARE in capsys.readouterr().err
