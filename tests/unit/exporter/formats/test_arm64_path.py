"""The path of `validate --cpu`: where it is there, what it says of itself, which limit it has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter.formats.arm64_path import DECODED, PREFILLED, arm64_missing, arm64_path
from exporter.formats.coreml import COREML
from exporter.formats.execution_path import PathOrder
from exporter.formats.family import Arm64Limits, NotOnArm64, RuntimeFamily
from exporter.formats.litert import LITERT
from exporter.formats.onnx import ONNX
from exporter.schemes import FP16, INT4_G32, INT8_CHANNEL
from runtimes.arm64.guest import Answer
from runtimes.arm64.root import default_directory
from runtimes.asked_work import ANSWER, LOGITS
from runtimes.errors import RuntimeUnavailable
from runtimes.manifest import Artifact
from runtimes.records import to_plain
from tests.fake_arm64 import fake_root

ARTIFACT = Artifact("text", "onnx", "onnx/model.onnx", 64, 8, 16, "last")
BYTES = 278_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_a_root_it_is_missing_with_the_command_that_makes_one() -> None:
    why = arm64_path(ONNX, "cortex-a76", [INT8_CHANNEL], BYTES).missing()
    assert why is not None
    assert why.endswith("no ARM64 root is there; prepare it with python -m runtimes.arm64.prepare")
    assert arm64_missing() == why


def test_with_a_root_only_an_unknown_cpu_is_missing() -> None:
    fake_root(default_directory(), "exit 0")
    assert arm64_path(LITERT, "cortex-a76", [INT8_CHANNEL], BYTES).missing() is None
    assert arm64_missing("cortex-a7") == (
        "--cpu cortex-a7: QEMU knows no such CPU; name one of cortex-a76, cortex-a55"
    )


def test_core_ml_is_said_not_to_be_executed_on_arm(tmp_path: Path) -> None:
    path = arm64_path(COREML, "cortex-a76", [INT8_CHANNEL], BYTES)
    assert path.title == "Core ML on an emulated cortex-a76"
    assert isinstance(COREML.arm64, NotOnArm64)
    assert path.missing() == COREML.arm64.why
    order = PathOrder(tmp_path, ARTIFACT, np.zeros(2, np.int32), 1, tmp_path, 1)
    with pytest.raises(RuntimeUnavailable, match="Core ML's runtime"):
        path.run(order)


@pytest.mark.parametrize("family", [LITERT, ONNX], ids=lambda family: family.name)
def test_matrices_of_4_bits_have_a_limit_of_their_own(family: RuntimeFamily) -> None:
    assert isinstance(family.arm64, Arm64Limits)
    limits = [
        arm64_path(family, "max", schemes, BYTES).mean_kl_limit
        for schemes in ([INT8_CHANNEL, INT4_G32], [INT8_CHANNEL], [FP16])
    ]
    assert limits == [family.arm64.of_4_bits, family.arm64.others, family.arm64.others]
    assert family.arm64.others < family.arm64.of_4_bits


def test_few_tokens_are_given_and_what_it_does_not_show_is_said() -> None:
    path = arm64_path(ONNX, "cortex-a76", [INT8_CHANNEL], BYTES)
    assert (path.most_prefilled, path.decoded) == (PREFILLED, DECODED)
    assert path.says_nothing_of == "it shows nothing of a phone's speed, memory behaviour, GPU or NPU"
    assert path.seconds == 600 + 3 * 278
    assert path.reference == "float twin"


def test_a_run_says_which_cpu_of_which_emulator_had_which_instructions(tmp_path: Path) -> None:
    answer = Answer("ONNX Runtime", "1.32.0", "fp32", ("fp", "asimd", "asimdhp", "asimddp"), None)
    (tmp_path / ANSWER).write_text(json.dumps(to_plain(answer)))
    np.save(tmp_path / LOGITS, np.zeros((2, 8), np.float32))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    fake_root(default_directory(), f"cp {tmp_path / ANSWER} {tmp_path / LOGITS} {scratch}")
    order = PathOrder(tmp_path, ARTIFACT, np.arange(5, dtype=np.int32), 3, scratch, 20)
    found = arm64_path(ONNX, "cortex-a76", [INT8_CHANNEL], BYTES).run(order)
    assert found.logits.shape == (2, 8)
    assert found.device == "cortex-a76, emulated by QEMU 10.0.2"
    assert found.remarks == ("it has asimdhp, asimddp",)
    assert found.left_over is None
