"""Lowering to Core ML: a stateful program in a `.mlpackage`, weights streamed into its weight file.

Not about running it: Apple's runtime does on macOS, `runtimes.mil` anywhere.
"""

from __future__ import annotations

from exporter.lowering.interface import Lowering
from runtimes.formats import Format


def make_lowering(formats: frozenset[Format]) -> Lowering:
    """Writes the one format there is."""
    from exporter.lowering.coreml.lowering import CoreMlLowering

    return CoreMlLowering()
