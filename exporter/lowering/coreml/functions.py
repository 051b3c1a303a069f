"""Several functions in one Core ML program, over one weight file (iOS 18).

Not about what they compute (`conversion`) or which constants they share (`binding`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.lowering.coreml.binding import MAIN
from exporter.lowering.coreml.traced_program import ConvertedProgram


def join(model: Any, others: Mapping[str, ConvertedProgram]) -> None:
    """Put the one function of each program beside the model's own, which stays what a caller gets that
    names none."""
    description = model.description
    _describe(description, MAIN, description)
    for name, other in others.items():
        model.mlProgram.functions[name].CopyFrom(other.model.mlProgram.functions[MAIN])
        _describe(description, name, other.model.description)
    for part in ("input", "output", "state"):  # said by function from here on
        description.ClearField(part)
    description.defaultFunctionName = MAIN


def _describe(into: Any, name: str, described: Any) -> None:
    function = into.functions.add()
    function.name = name
    function.input.MergeFrom(described.input)
    function.output.MergeFrom(described.output)
    function.state.MergeFrom(described.state)
