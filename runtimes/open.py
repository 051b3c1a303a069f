"""Opening an artifact of a release with the driver its format asks for: one explicit table.

Not about checking that the release is what its manifest says (`runtimes.manifest`). Each driver imports
its vendor's runtime when it opens something, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from runtimes import litert, mil, onnx
from runtimes.formats import Format
from runtimes.manifest import Artifact
from runtimes.opening import MilArithmetic, Opening
from runtimes.session import Session

DRIVERS: dict[Format, Callable[[Opening], Session]] = {
    "tflite": litert.open_artifact,
    "litertlm": litert.open_artifact,
    "onnx": onnx.open_artifact,
    "onnx-web": onnx.open_artifact,
    "coreml": mil.open_artifact,
}


def open_session(
    release: Path, artifact: Artifact, *, threads: int = 2, mil_arithmetic: MilArithmetic = "fp16"
) -> Session:
    """Open one decoder of a release.

    Core ML packages are executed by the MIL evaluator, in the arithmetic asked for; Apple's runtime
    is opened explicitly, through `runtimes.coreml`. Raises RuntimeUnavailable where the vendor
    runtime is not installed, ArtifactError where the bytes are damaged.
    """
    opening = Opening(release / artifact.path, artifact, threads, mil_arithmetic)
    match artifact.component:
        case "text":
            return DRIVERS[artifact.format](opening)
        case _:
            assert_never(artifact.component)
