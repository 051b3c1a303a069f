"""What is made of a GPU process's end: an answer, a refusal, a crash, a hang, and what its log says.

The process is a stand-in that prints and leaves what one of LiteRT's did; the real one is run by
tests/parity/test_litert_gpu.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtimes.errors import ArtifactError, BeyondAdapter, ExecutionFailed, RuntimesError, SessionError
from runtimes.litert import gpu
from runtimes.litert.gpu import GpuOrder, left_over_of, missing, run_on_gpu
from runtimes.litert.gpu_process import GpuDone, GpuRefused
from runtimes.litert.gpu_session import GpuArithmetic
from runtimes.own_process import Printed
from runtimes.vulkan import VulkanAdapter

LAVAPIPE = VulkanAdapter("llvmpipe (LLVM 15.0.6, 256 bits)", "CPU", True, 1 << 27, "llvmpipe Mesa 25")
SWIFTSHADER = VulkanAdapter("SwiftShader Device (Subzero)", "CPU", False, 1 << 30, "")
SELECTED = (
    "I0000 00:00:1.5 24502 environment.cc:532] Selected adapter: {}, arch=software, vendor=mesa, "
    "backend=Vulkan, adapterType=CPU / Software"
)
LOGITS = np.arange(6, dtype=np.float32).reshape(2, 3)
LOG = (
    "ERROR: Following operations are not supported by GPU delegate:",
    "DEQUANTIZE: ",
    "DEQUANTIZE: Dequantize for Densify is not supported",
    "EMBEDDING_LOOKUP: EMBEDDING_LOOKUP: Empty quantization params.",
    "541 operations will run on the GPU, and the remaining 77 operations will run on the CPU.",
    "CAST: this is not of the list",
)

Run = Callable[..., gpu.GpuAnswer]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs an order with a process that prints `lines`, leaves `found` and does `then`."""

    def go(
        found: GpuDone | GpuRefused | None,
        *lines: str,
        adapter: VulkanAdapter = LAVAPIPE,
        arithmetic: GpuArithmetic = "fp32",
        then: str = "",
        seconds: float = 30,
    ) -> gpu.GpuAnswer:
        program = (
            "import json, os, sys, time\nimport numpy as np\nfrom runtimes.records import to_plain\n"
            "from runtimes.litert.gpu_process import *\n"
            f"scratch = sys.argv[1]\nprint({chr(10).join(lines)!r}, flush=True)\nfound = {found!r}\n"
            "if found is not None:\n"
            f"    np.save(scratch + '/logits.npy', np.array({LOGITS.tolist()}, np.float32))\n"
            "    json.dump(to_plain(GpuReport(found)), open(scratch + '/answer.json', 'w'))\n"
            f"{then}\n"
        )
        command = [sys.executable, "-c", program]
        monkeypatch.setattr(gpu, "own_python", lambda _, *given: ([*command, *given], dict(os.environ)))
        monkeypatch.setattr(gpu, "vulkan_adapters", lambda: (adapter,))
        monkeypatch.setattr(gpu, "has_loader", lambda: True)
        order = GpuOrder(tmp_path / "model.tflite", arithmetic, tmp_path, seconds)
        return run_on_gpu(order, np.arange(4, dtype=np.int32), 2)

    return go


DONE = GpuDone("2.3.0", "fp32", True)


def test_the_adapter_is_described_even_where_it_lacks_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "vulkan_adapters", lambda: (SWIFTSHADER, LAVAPIPE))
    assert gpu.adapter_here() == SWIFTSHADER.described
    monkeypatch.setattr(gpu, "vulkan_adapters", lambda: ())
    assert gpu.adapter_here() is None


def test_drivers_that_do_not_answer_have_no_adapter_to_describe(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> tuple[VulkanAdapter, ...]:
        raise BeyondAdapter("the Vulkan drivers here do not answer")

    monkeypatch.setattr(gpu, "vulkan_adapters", silent)
    assert gpu.adapter_here() is None


def test_an_answer_names_the_adapter_the_log_names(run: Run) -> None:
    answer = run(DONE, SELECTED.format(LAVAPIPE.name))
    assert np.array_equal(answer.logits, LOGITS)
    assert answer.adapter == f"{LAVAPIPE.name}, a CPU in place of a GPU"
    assert (answer.version, answer.left_over) == ("2.3.0", ())


def test_operations_the_log_lists_are_left_over(run: Run) -> None:
    answer = run(GpuDone("2.3.0", "fp32", False), SELECTED.format(LAVAPIPE.name), *LOG, *LOG)
    assert answer.left_over == (
        "DEQUANTIZE (Dequantize for Densify is not supported)",
        "EMBEDDING_LOOKUP (Empty quantization params.)",
    )


def test_operations_that_no_log_lists_are_left_over_all_the_same(run: Run) -> None:
    answer = run(GpuDone("2.3.0", "fp32", False), SELECTED.format(LAVAPIPE.name))
    assert answer.left_over == left_over_of(Printed(())) == ("operations its log does not name",)


def test_an_adapter_that_vulkan_does_not_list_is_not_believed(run: Run) -> None:
    with pytest.raises(ExecutionFailed, match=r"on Mystery, which Vulkan does not list \(llvm"):
        run(DONE, SELECTED.format("Mystery"))
    with pytest.raises(ExecutionFailed, match="something it does not name"):
        run(DONE)


def test_fp16_on_an_adapter_without_it_is_not_tried(run: Run) -> None:
    with pytest.raises(BeyondAdapter, match="has no fp16: LiteRT would compute in fp32 there"):
        run(DONE, adapter=SWIFTSHADER, arithmetic="fp16", then="raise AssertionError")
    assert run(DONE, SELECTED.format(SWIFTSHADER.name), adapter=SWIFTSHADER).adapter


def test_a_crash_and_a_hang_are_failures_with_what_was_printed_last(run: Run) -> None:
    with pytest.raises(ExecutionFailed, match=r"model.tflite: on llvmpipe .* SIGSEGV; .* last: compiling"):
        run(None, "compiling", then="import signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ExecutionFailed, match=r"not done after 3 s .* last: decode 3 of 64"):
        run(None, "decode 3 of 64", then="time.sleep(60)", seconds=3)


def test_a_process_that_leaves_nothing_is_a_failure(run: Run) -> None:
    with pytest.raises(ExecutionFailed, match="gave no answer; it printed last: nothing to say"):
        run(None, "nothing to say")


@pytest.mark.parametrize("kind", [ArtifactError, SessionError, BeyondAdapter])
def test_a_refusal_comes_back_as_the_error_it_was(kind: type[RuntimesError], run: Run) -> None:
    with pytest.raises(kind, match=r"^what was wrong$"):
        run(GpuRefused(kind.__name__, "what was wrong"))


def test_litert_s_own_errors_are_failures(run: Run) -> None:
    with pytest.raises(ExecutionFailed, match="RuntimeError: Failed to run; it printed last: prefill"):
        run(GpuRefused("ExecutionFailed", "RuntimeError: Failed to run"), "prefill of tokens 0 and on")


def test_a_buffer_the_driver_refuses_is_the_adapter_s_limit(run: Run) -> None:
    line = "Binding size (167772160) is larger than the maxStorageBufferBindingSize (134217728)."
    with pytest.raises(BeyondAdapter, match="167772160"):
        run(GpuRefused("ExecutionFailed", "RuntimeError: Failed to run"), line)


def test_what_is_missing_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "has_loader", lambda: False)
    assert "libvulkan1" in (missing("fp32") or "")
    monkeypatch.setattr(gpu, "has_loader", lambda: True)
    monkeypatch.setattr(gpu, "vulkan_adapters", lambda: ())
    assert "mesa-vulkan-drivers" in (missing("fp32") or "")
    monkeypatch.setattr(gpu, "vulkan_adapters", lambda: (SWIFTSHADER,))
    assert missing("fp32") is None
    assert "has no fp16" in (missing("fp16") or "")
    monkeypatch.setattr(gpu, "ACCELERATOR", "libNoSuch.so")
    assert "comes without libNoSuch.so" in (missing("fp32") or "")
