"""An artifact on LiteRT's GPU accelerator, in a process of its own: what it gives, on what, and what is
missing where it cannot be tried.

On Linux the accelerator speaks Vulkan, through WebGPU. Not about OpenCL, which phones' own builds prefer,
nor about what runs inside the process (`gpu_process`).
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtimes import errors
from runtimes.asked_work import ANSWER, LOGITS, ORDER, TOKENS, EncodeSamples, FeedTokens
from runtimes.encoder import EncodedRows
from runtimes.errors import ArtifactError, BeyondAdapter, ExecutionFailed, RuntimesError, RuntimeUnavailable
from runtimes.litert.gpu_process import GpuRefused, GpuReport, GpuWork, TakeRows
from runtimes.litert.gpu_session import GpuArithmetic
from runtimes.manifest import EncoderArtifact
from runtimes.multimodal.fed_prompt import FedPrompt
from runtimes.multimodal.passed_files import (
    BEHIND,
    ROWS,
    Prepared,
    read_numbers,
    write_prompts,
    write_samples,
)
from runtimes.own_process import Printed, own_python, run_in_own_process
from runtimes.records import RecordError, from_plain, to_plain
from runtimes.session import Logits, Tokens
from runtimes.strict_json import read_json_object
from runtimes.vulkan import VulkanAdapter, has_loader, vulkan_adapters

ACCELERATOR = "libLiteRtWebGpuAccelerator.so"
NO_DRIVER = (
    "there is no Vulkan adapter; install the driver of this machine's GPU, or Mesa's software one "
    "(Debian: mesa-vulkan-drivers, of backports)"
)
_ADAPTER = re.compile(r"Selected adapter: (.+?), arch=")
_UNSUPPORTED = "operations are not supported by GPU delegate"
_OPERATION = re.compile(r"^([A-Z][A-Z0-9_]+):(.*)$")
_TOO_LARGE = re.compile(r"^.*(?:maxStorageBufferBindingSize|maxBufferSize).*$")


@dataclass(frozen=True)
class GpuOrder:
    """path: of the artifact. scratch: existing directory, for a copy of a bundle's text model too. seconds:
    time limit."""

    path: Path
    arithmetic: GpuArithmetic
    scratch: Path
    seconds: float


@dataclass(frozen=True)
class GpuRun:
    """adapter: that computed, in words. left_over: kinds of operations that went to the CPU, each with the
    accelerator's reason; empty where it took all."""

    version: str
    adapter: str
    arithmetic: str
    left_over: tuple[str, ...]


@dataclass(frozen=True)
class GpuAnswer(GpuRun):
    """logits: of the decoded tokens, [decoded, vocab]."""

    logits: Logits


@dataclass(frozen=True)
class GpuRows(GpuRun):
    """rows: of each sample."""

    rows: tuple[EncodedRows, ...]


@dataclass(frozen=True)
class GpuBehind(GpuRun):
    """logits: of the decoded tokens of each prompt, [decoded, vocab]."""

    logits: tuple[Logits, ...]


def missing(arithmetic: GpuArithmetic) -> str | None:
    """Why nothing can be executed in it here, None where it can."""
    try:
        _adapter(arithmetic)
    except (RuntimeUnavailable, BeyondAdapter) as error:
        return str(error)
    return None


def adapter_here() -> str | None:
    """The adapter LiteRT would choose, with its driver and limits, whatever else is missing; None where
    there is none."""
    try:
        adapters = vulkan_adapters()
    except BeyondAdapter:
        return None
    return adapters[0].described if adapters else None


def is_software() -> bool:
    """Whether the adapter LiteRT would choose is a CPU in place of a GPU."""
    try:
        return any(each.kind == "CPU" for each in vulkan_adapters()[:1])
    except BeyondAdapter:
        return False


def run_on_gpu(order: GpuOrder, tokens: Tokens, prefilled: int) -> GpuAnswer:
    """Logits of tokens behind the first `prefilled`, which are given by prefill.

    Raises RuntimeUnavailable without the accelerator, BeyondAdapter for what this machine's adapter cannot
    do, ArtifactError and SessionError as a session does, ExecutionFailed for a crash or a hang.
    """
    np.save(order.scratch / TOKENS, tokens)
    run = _executed(order, FeedTokens(prefilled))
    logits: Logits = np.load(order.scratch / LOGITS)
    return GpuAnswer(**vars(run), logits=logits)


def rows_on_gpu(order: GpuOrder, encoder: EncoderArtifact, samples: Sequence[Prepared]) -> GpuRows:
    """Rows of each sample. Raises as `run_on_gpu`, and EncoderError for a sample of another tower."""
    write_samples(order.scratch, samples)
    run = _executed(order, EncodeSamples(encoder))
    return GpuRows(**vars(run), rows=read_numbers(order.scratch / ROWS))


def behind_rows_on_gpu(order: GpuOrder, release: Path, prompts: Sequence[FedPrompt]) -> GpuBehind:
    """Logits behind each prompt. release: directory that says which ids stand for rows. Raises as
    `run_on_gpu`, and ProcessingError as reading what it says."""
    write_prompts(order.scratch, prompts)
    run = _executed(order, TakeRows(str(release.resolve())))
    return GpuBehind(**vars(run), logits=read_numbers(order.scratch / BEHIND))


def _executed(order: GpuOrder, asked: FeedTokens | EncodeSamples | TakeRows) -> GpuRun:
    """What the process says of itself; what it made lies in the scratch directory."""
    expected = _adapter(order.arithmetic)
    path = str(order.path.resolve())
    work = GpuWork(path, asked, order.arithmetic, expected.in_words, expected.largest_buffer)
    (order.scratch / ORDER).write_text(json.dumps(to_plain(work)), encoding="utf-8")
    command, environment = own_python("runtimes.litert.gpu_process", str(order.scratch))
    runtime = order.scratch / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    printed = run_in_own_process(
        command,
        what=f"{order.path}: on {expected.name} in {order.arithmetic}",
        seconds=order.seconds,
        # Drivers want the directory to exist, and a service or a container has none.
        environment={"XDG_RUNTIME_DIR": str(runtime), **environment},
    )
    try:
        found = from_plain(GpuReport, read_json_object(order.scratch / ANSWER)).found
    except (OSError, ValueError, RecordError) as error:
        raise ExecutionFailed(f"{order.path}: gave no answer; it printed last: {printed.last}") from error
    if isinstance(found, GpuRefused):
        raise _refusal(order, found, printed)
    adapter = _chosen(printed, order.arithmetic)
    left_over = () if found.fully_accelerated else left_over_of(printed)
    return GpuRun(found.version, adapter.in_words, found.arithmetic, left_over)


def left_over_of(printed: Printed) -> tuple[str, ...]:
    """Kinds of operations the accelerator's log says it does not take, each once."""
    named: dict[str, str] = {}
    listing = False
    for line in printed.lines:
        if _UNSUPPORTED in line:
            listing = True
        elif listing and (each := _OPERATION.match(line.strip())) is not None:
            reason = each[2].strip().removeprefix(f"{each[1]}: ")
            named[each[1]] = named.get(each[1]) or reason  # it repeats some without a reason
        else:
            listing = False
    found = (f"{kind} ({reason})" if reason else kind for kind, reason in named.items())
    return tuple(found) or ("operations its log does not name",)


def _adapter(arithmetic: GpuArithmetic) -> VulkanAdapter:
    """The adapter LiteRT will choose. Raises RuntimeUnavailable or BeyondAdapter."""
    if not sys.platform.startswith("linux"):
        raise RuntimeUnavailable("LiteRT's GPU accelerator is driven through Vulkan, on Linux only")
    package = importlib.util.find_spec("ai_edge_litert")
    if package is None or package.origin is None:
        raise RuntimeUnavailable(
            "ai-edge-litert is not installed here; pip install 'gemma-export[run-litert]'"
        )
    if not (Path(package.origin).parent / ACCELERATOR).exists():
        raise RuntimeUnavailable(f"this ai-edge-litert comes without {ACCELERATOR}; install 2.3 for x86-64")
    if not has_loader():
        raise RuntimeUnavailable(
            "the Vulkan loader is not installed; Debian has it in libvulkan1, and drivers in "
            "mesa-vulkan-drivers"
        )
    adapters = vulkan_adapters()
    if not adapters:
        raise RuntimeUnavailable(NO_DRIVER)
    _require_fp16(adapters[0], arithmetic)
    return adapters[0]


def _chosen(printed: Printed, arithmetic: GpuArithmetic) -> VulkanAdapter:
    """The adapter the log says was selected."""
    adapters = vulkan_adapters()
    named = next((each[1] for line in printed.lines if (each := _ADAPTER.search(line))), None)
    chosen = next((each for each in adapters if each.name == named), None)
    if chosen is None:
        raise ExecutionFailed(
            f"LiteRT computed on {named or 'something it does not name'}, which Vulkan does not list "
            f"({', '.join(each.name for each in adapters)})"
        )
    _require_fp16(chosen, arithmetic)
    return chosen


def _require_fp16(adapter: VulkanAdapter, arithmetic: GpuArithmetic) -> None:
    if arithmetic == "fp16" and not adapter.fp16:
        raise BeyondAdapter(
            f"{adapter.in_words} has no fp16: LiteRT would compute in fp32 there and not say so"
        )


def _refusal(order: GpuOrder, found: GpuRefused, printed: Printed) -> RuntimesError:
    """What the process wrote down, as the error it was."""
    too_large = next((line for line in printed.lines if _TOO_LARGE.match(line)), None)
    if too_large is not None:
        return BeyondAdapter(f"{order.path.name}: the adapter takes no buffer of that size: {too_large}")
    if found.error == "ExecutionFailed":
        return ExecutionFailed(f"{order.path}: {found.message}; it printed last: {printed.last}")
    kinds: dict[str, Any] = {name: getattr(errors, name) for name in dir(errors)}
    kind = kinds.get(found.error, ArtifactError)
    return kind(found.message)  # type: ignore[no-any-return]  # one of the classes in runtimes.errors
