"""However an emulation ends, it is logits or one of our errors with what was printed last."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from runtimes.arm64.emulation import EmulatedCpu
from runtimes.arm64.guest import Answer
from runtimes.arm64.root import Arm64Root
from runtimes.asked_work import ANSWER, LOGITS, ORDER, TOKENS
from runtimes.errors import ArtifactError, ExecutionFailed
from runtimes.manifest import Artifact
from runtimes.records import to_plain
from runtimes.session import Logits
from tests.unit.runtimes.arm64.conftest import RootOf

ARTIFACT = Artifact("text", "onnx", "onnx/model.onnx", 64, 8, 16, "last")
ANSWERED = Answer("ONNX Runtime", "1.32.0", "fp32", ("asimddp",), None)


def run(root: Arm64Root, tmp_path: Path, seconds: float = 20) -> tuple[Logits, Answer]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tokens = np.arange(5, dtype=np.int32)
    return EmulatedCpu(root, "cortex-a76", seconds).run(tmp_path, ARTIFACT, tokens, 3, scratch)


def answering(tmp_path: Path, answer: Answer) -> str:
    """A script that answers this, and logits of zeros."""
    (tmp_path / ANSWER).write_text(json.dumps(to_plain(answer)))
    np.save(tmp_path / LOGITS, np.zeros((2, 8), np.float32))
    return f"cp {tmp_path / ANSWER} {tmp_path / LOGITS} {tmp_path / 'scratch'}"


def test_logits_come_back_with_what_the_run_says_of_itself(root_of: RootOf, tmp_path: Path) -> None:
    logits, answer = run(root_of(answering(tmp_path, ANSWERED)), tmp_path)
    assert logits.shape == (2, 8)
    assert answer == ANSWERED


def test_it_is_told_the_cpu_the_root_and_the_order(root_of: RootOf, tmp_path: Path) -> None:
    root = root_of('printf "%s\\n" "$@" > $TMPDIR/arguments; ' + answering(tmp_path, ANSWERED))
    run(root, tmp_path)
    scratch = tmp_path / "scratch"
    arguments = (scratch / "arguments").read_text().splitlines()
    assert arguments[:4] == ["-cpu", "cortex-a76", "-L", str(root.directory)]
    assert str(root.site) in arguments[-1]
    order = json.loads((scratch / ORDER).read_text())
    assert (order["artifact"]["path"], order["asked"]["prefilled"]) == ("onnx/model.onnx", 3)
    assert np.load(scratch / TOKENS).tolist() == [0, 1, 2, 3, 4]


def test_nothing_but_this_package_is_lent_to_it(root_of: RootOf, tmp_path: Path) -> None:
    run(root_of(answering(tmp_path, ANSWERED)), tmp_path)
    lent = tmp_path / "scratch" / "lent"
    assert [each.name for each in lent.iterdir()] == ["runtimes"]
    assert (lent / "runtimes" / "arm64" / "guest.py").is_file()


def test_a_crash_names_its_signal_and_what_was_printed_last(root_of: RootOf, tmp_path: Path) -> None:
    root = root_of("echo opening; echo decode at position 3; kill -SEGV $$")
    with pytest.raises(
        ExecutionFailed, match=r"model\.onnx on an emulated cortex-a76: ended by SIGSEGV; .*position 3"
    ):
        run(root, tmp_path)


def test_a_hang_is_ended_with_what_was_printed_last(root_of: RootOf, tmp_path: Path) -> None:
    begin = time.monotonic()
    root = root_of("echo decode at position 7; sleep 60 & wait")
    with pytest.raises(
        ExecutionFailed, match=r"was not done after 1 s and was ended; it printed last: .*position 7"
    ):
        run(root, tmp_path, seconds=1)
    assert time.monotonic() - begin < 30


def test_an_unexpected_error_is_said_with_its_exit_code(root_of: RootOf, tmp_path: Path) -> None:
    with pytest.raises(ExecutionFailed, match="ended with exit code 1; it printed last: MemoryError"):
        run(root_of("echo MemoryError >&2; exit 1"), tmp_path)


def test_an_emulation_without_an_answer_fails(root_of: RootOf, tmp_path: Path) -> None:
    with pytest.raises(ExecutionFailed, match="ended without an answer; it printed last: nothing"):
        run(root_of("exit 0"), tmp_path)


def test_an_emulator_that_is_gone_is_no_traceback(root_of: RootOf, tmp_path: Path) -> None:
    root = root_of("exit 0")
    root.qemu.unlink()
    with pytest.raises(ExecutionFailed, match="QEMU does not start"):
        run(root, tmp_path)


def test_one_of_our_errors_is_raised_as_it_was_there(root_of: RootOf, tmp_path: Path) -> None:
    refused = Answer("", "", "", (), ("ArtifactError", "model.onnx: cannot be loaded"))
    with pytest.raises(ArtifactError, match=r"on an emulated cortex-a76: model.onnx: cannot be loaded"):
        run(root_of(answering(tmp_path, refused)), tmp_path)
