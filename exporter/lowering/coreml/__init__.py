"""Lowering to Core ML: a stateful program in a `.mlpackage`, weights streamed into its weight file.

Not about running it: Apple's runtime does on macOS, `runtimes.mil` anywhere.
"""

from exporter.lowering.coreml.lowering import CoreMlLowering

__all__ = ["CoreMlLowering"]
