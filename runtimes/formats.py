"""`Format`: the names of the formats a release may hold, in the order they are written in.

One line per format here, and one per driver in `runtimes.open`. Imports nothing, so that a command can
name them at once.
"""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal[
    "tflite",
    "litertlm",
    "onnx",
    "coreml",
]
FORMATS: tuple[Format, ...] = get_args(Format)
