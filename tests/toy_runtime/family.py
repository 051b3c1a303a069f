"""The toy's room: what is true of it, as one value."""

from __future__ import annotations

from typing import cast

from exporter.byte_size import GIB
from exporter.formats.family import (
    AcceleratorFacts,
    Driver,
    FormatFacts,
    MemoryModel,
    NotOnArm64,
    Prompting,
    ReplayLimits,
    RuntimeFamily,
    TestedPackage,
)
from exporter.formats.held_memory import HeldMemory, OpenedModel
from exporter.models.text.spec import LayerSpec, ModelSpec
from runtimes.formats import Format
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.recorded_calls import ReplayTolerances

TOY_FORMAT = cast(Format, "toy")  # a real runtime adds its word to `Format`


def _cache_slots(spec: ModelSpec, layer: LayerSpec, context: int, prefill_chunk: int) -> int:
    """A window, and a chunk whose first query still finds its whole window."""
    return context if layer.window is None else min(context, layer.window + prefill_chunk - 1)


def _holds(opened: OpenedModel) -> tuple[HeldMemory, ...]:
    return (
        HeldMemory("weights", _written(opened), "private"),
        HeldMemory("KV cache", opened.cache_bytes, "private"),
    )


def _written(opened: OpenedModel) -> int:
    return sum(opened.stored(each) for each in opened.spec.weights())


def _how_to_run(artifact: Artifact, prompting: Prompting) -> str:
    return f'```python\nimport numpy as np\n\nprint(np.load("{artifact.path}").files)\n```'


TOY = RuntimeFamily(
    name="toy",
    title="Toy",
    files=(FormatFacts(TOY_FORMAT, "toy", ("numpy",), _how_to_run),),
    schemes=frozenset({"fp16", "fp32"}),
    other_schemes="it has no integers",
    accelerators={"CPU": AcceleratorFacts()},
    negative_scales="has no scales",
    zero_points=None,
    cache_slots=_cache_slots,
    cached_bytes=4,
    rewindable=None,
    context_multiple=1,
    stream=None,
    drivers=(Driver("fp32", open_session, lowering_limit=1e-6, hand_over_limit=1e-6, state_limit=1e-4),),
    paths=(),
    arm64=NotOnArm64("the toy is computed by numpy"),
    packages=(TestedPackage("numpy", "Toy: reading the archive", "2"),),
    memory=MemoryModel(lowering=GIB, weight_copies=2, cache_copies=1, beside=0, twin=None, twin_matrices=0),
    holds=_holds,
    written=_written,
    replay=ReplayLimits(of_4_bits=ReplayTolerances(1e-3, 1e-1), others=ReplayTolerances(1e-3, 1e-1)),
)
