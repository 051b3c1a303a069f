"""`Format`: the names of the formats a release may hold, in the order they are written in; and
`Accelerator`: what of a device an artifact is meant for.

Two lines per format here, and one per driver in `runtimes.open`. Imports nothing, so that a command can
name them at once.
"""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal[
    "tflite",
    "litertlm",
    "onnx",
    "onnx-web",
    "coreml",
]
FORMATS: tuple[Format, ...] = get_args(Format)

SUFFIXES: dict[Format, str] = {
    "tflite": ".tflite",
    "litertlm": ".litertlm",
    "onnx": ".onnx",
    "onnx-web": ".onnx",
    "coreml": ".mlpackage",
}
"""How the path of an artifact ends, by its format."""

Accelerator = Literal["CPU", "GPU", "NPU"]
"""A kind of processor. CPU: what every device has, and no accelerator at all."""
