"""Opening an artifact of a release with the driver its format asks for: one explicit table.

Not about checking that the release is what its manifest says (`runtimes.manifest`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, assert_never

from runtimes.manifest import Artifact
from runtimes.session import Session

MilArithmetic = Literal["fp32", "fp16"]


def open_session(
    release: Path, artifact: Artifact, *, threads: int = 2, mil_arithmetic: MilArithmetic = "fp16"
) -> Session:
    """Open one artifact of a release.

    Core ML packages are executed by the MIL evaluator, in the arithmetic asked for; Apple's runtime
    is opened explicitly, through `runtimes.coreml`. Raises RuntimeUnavailable where the vendor
    runtime is not installed, ArtifactError where the bytes are damaged.
    """
    path = release / artifact.path
    match artifact.format:
        case "tflite" | "litertlm":
            from runtimes.litert.session import LiteRtSession

            return LiteRtSession.open(path, threads=threads)
        case "onnx":
            from runtimes.onnx.session import OnnxSession

            return OnnxSession(path, threads=threads)
        case "coreml":
            from runtimes.mil.session import MilSession

            return MilSession.open(path, arithmetic=mil_arithmetic, prefill_chunk=artifact.prefill_chunk)
        case _:
            assert_never(artifact.format)
