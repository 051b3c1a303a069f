"""The execution path of `validate --cpu`: an artifact on an emulated ARM64 CPU against its float twin.

Its towers, and decoders behind them, against transformers, as on this machine's CPU.
Only where it is asked for: emulation takes a hundred times as long. Its kernels are another vendor build's,
which round where this machine's round, but not alike: each is held against the twin, which rounds nothing.
How far they may stray stands in each family's room. Not about emulating (`runtimes.arm64`).
"""

from __future__ import annotations

from collections.abc import Iterable

from exporter.formats.execution_path import (
    OWN_KL,
    BehindAnswer,
    ExecutionPath,
    PathAnswer,
    PathOrder,
    RowsAnswer,
    Sensing,
    SensingOrder,
)
from exporter.formats.family import Arm64Limits, NotOnArm64, RuntimeFamily, below_8_bits
from exporter.formats.rows_driver import ROUNDING, ROWS_LIMITS
from exporter.schemes import Scheme
from runtimes.arm64.emulation import EmulatedCpu, EmulatedSensing
from runtimes.arm64.root import Arm64Root, find_root
from runtimes.errors import RuntimeUnavailable
from runtimes.multimodal.fed_prompt import FedPrompt
from runtimes.multimodal.passed_files import Prepared

PREFILLED, DECODED = 32, 16  # tokens: enough for every kernel of both calls, and no more
SECONDS, SECONDS_PER_MB = 600, 3  # time limit; a busy machine was seen to take 0.8 s a MB
WORK = 4e11  # multiplications of samples, or of prompts: a quarter of an hour of two cores
SAYS_NOTHING_OF = "it shows nothing of a phone's speed, memory behaviour, GPU or NPU"
CHOSEN_BY = ("asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme", "sme2")
"""Features, in Linux's words, by which the runtimes choose their kernels."""


def arm64_path(
    family: RuntimeFamily, cpu: str, schemes: Iterable[Scheme], weight_bytes: int
) -> ExecutionPath:
    """The path for artifacts whose matrices have these schemes and this size. cpu: as QEMU names it."""

    def run(order: PathOrder) -> PathAnswer:
        if isinstance(family.arm64, NotOnArm64):
            raise RuntimeUnavailable(family.arm64.why)
        return _run(find_root(), cpu, order)

    def missing() -> str | None:
        return family.arm64.why if isinstance(family.arm64, NotOnArm64) else arm64_missing(cpu)

    return ExecutionPath(
        name=f"{family.name}-{cpu}",
        title=f"{family.title} on an emulated {cpu}",
        missing=missing,
        run=run,
        reference="float twin",
        mean_kl_limit=_limit(family, schemes),
        seconds=SECONDS + SECONDS_PER_MB * weight_bytes / 1e6,
        says_nothing_of=SAYS_NOTHING_OF,
        most_prefilled=PREFILLED,
        decoded=DECODED,
        sensing=_sensing(cpu),
    )


def _sensing(cpu: str) -> Sensing:
    def rows(order: SensingOrder, samples: tuple[Prepared, ...]) -> RowsAnswer:
        root = find_root()
        found, _ = EmulatedCpu(root, cpu, order.seconds).rows(_emulated(order), samples)
        return RowsAnswer(found, _device(root, cpu), None)

    def behind(order: SensingOrder, prompts: tuple[FedPrompt, ...]) -> BehindAnswer:
        root = find_root()
        found, _ = EmulatedCpu(root, cpu, order.seconds).behind(_emulated(order), prompts)
        return BehindAnswer(found, _device(root, cpu), None)

    limit = ROWS_LIMITS["fp32"]
    return Sensing(rows, behind, limit.relative, limit.cosine, ROUNDING, OWN_KL, lambda: WORK)


def _emulated(order: SensingOrder) -> EmulatedSensing:
    return EmulatedSensing(order.directory, order.encoder, order.artifact, order.scratch)


def _device(root: Arm64Root, cpu: str) -> str:
    return f"{cpu}, emulated by QEMU {root.record.qemu}"


def arm64_missing(cpu: str | None = None) -> str | None:
    """Why no ARM64 CPU, or not this one, can be emulated here, and what to do; None where it can."""
    try:
        root = find_root()
        if cpu is not None:
            root.require_cpu(cpu)
    except RuntimeUnavailable as error:
        return str(error)
    return None


def _run(root: Arm64Root, cpu: str, order: PathOrder) -> PathAnswer:
    emulated = EmulatedCpu(root, cpu, order.seconds)
    logits, answer = emulated.run(
        order.directory, order.artifact, order.tokens, order.prefilled, order.scratch
    )
    features = [each for each in answer.features if each in CHOSEN_BY]
    return PathAnswer(
        logits=logits,
        runtime=answer.runtime,
        version=answer.version,
        device=_device(root, cpu),
        arithmetic=answer.arithmetic,
        left_over=None,
        remarks=(f"it has {', '.join(features) or 'none of the newer instructions'}",),
    )


def _limit(family: RuntimeFamily, schemes: Iterable[Scheme]) -> float:
    """Of the family's two, in nats; 0 where nothing is ever compared."""
    if not isinstance(family.arm64, Arm64Limits):
        return 0.0
    return family.arm64.of_4_bits if below_8_bits(schemes) else family.arm64.others
