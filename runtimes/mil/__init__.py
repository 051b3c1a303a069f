"""MIL evaluator: runs a saved Core ML package (ML Program) on any system, with numpy alone.

It executes the artifact's bytes under MIL semantics, in fp32 or in fp16 arithmetic. Not about
speed on a device, placement on the Neural Engine, or whether Core ML itself loads the package.
"""

from __future__ import annotations

from runtimes.opening import Opening
from runtimes.session import Session


def open_artifact(asked: Opening) -> Session:
    """A Core ML package, as `MilSession.open` does."""
    from runtimes.mil.session import MilSession

    return MilSession.open(
        asked.path, arithmetic=asked.mil_arithmetic, prefill_chunk=asked.artifact.prefill_chunk
    )
