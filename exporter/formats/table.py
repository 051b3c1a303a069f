"""Which runtimes there are: one explicit table, and what is asked of it.

Not about what is true of any of them: that is said in the sibling modules.
"""

from __future__ import annotations

from collections.abc import Iterable

from exporter.formats.coreml import COREML
from exporter.formats.execution_path import ExecutionPath, left_out
from exporter.formats.family import Driver, FormatFacts, RuntimeFamily
from exporter.formats.litert import LITERT
from exporter.formats.onnx import ONNX
from exporter.models.text.spec import ModelSpec
from runtimes.formats import Format
from runtimes.open import IMAGE_ENCODERS, SOUND_ENCODERS

FAMILIES: dict[str, RuntimeFamily] = {
    LITERT.name: LITERT,
    ONNX.name: ONNX,
    COREML.name: COREML,
}


def family_of(format: Format) -> RuntimeFamily:
    """The family that writes this format. There is one for every format (a test says so)."""
    return next(family for family in FAMILIES.values() if format in family.formats)


def families_of(formats: Iterable[Format]) -> tuple[RuntimeFamily, ...]:
    """The families these formats need, each once, in the formats' order."""
    return tuple({family.name: family for family in map(family_of, formats)}.values())


def facts_of(format: Format) -> FormatFacts:
    """What is true of this format alone."""
    return next(each for each in family_of(format).files if each.name == format)


def takes_images(format: Format, text: ModelSpec) -> bool:
    """Whether artifacts of this format take images where the model has a tower for them."""
    return format in IMAGE_ENCODERS and text.model_type not in facts_of(format).only_text_of


def takes_sounds(format: Format, text: ModelSpec) -> bool:
    """The same of sounds, and of an encoder of them."""
    return format in SOUND_ENCODERS and text.model_type not in facts_of(format).only_text_of


def drivers_of(format: Format) -> tuple[Driver, ...]:
    """Every way artifacts of this format are executed in a validation."""
    return family_of(format).drivers


def paths_of(format: Format) -> tuple[ExecutionPath, ...]:
    """The ways to execute artifacts of this format that a machine may or may not have."""
    every = family_of(format).paths
    return tuple(path for path in every if path.formats is None or format in path.formats)


def paths_not_asked_for(format: Format) -> tuple[ExecutionPath, ...]:
    """The same, none of them to be executed: somebody asked for the CPU alone."""
    return tuple(left_out(path, "--no-accelerators was given") for path in paths_of(format))
