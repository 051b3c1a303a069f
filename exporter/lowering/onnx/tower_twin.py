"""The float twin of an image tower or an audio encoder: its own graph and bytes, activations not rounded.

As a text decoder's (`float_twin`), but for what that has and a tower has not: a head to be cut off, and
decode steps that would want matrices dequantised once. Not shipped.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from exporter.lowering.onnx.artifact_file import ArtifactFile
from exporter.lowering.onnx.float_twin import (
    ARITHMETIC_KEY,
    in_float,
    join_parts,
    link_data,
    set_metadata,
)
from runtimes.manifest import EncoderArtifact


def tower_twin(release: Path, encoder: EncoderArtifact, out: Path) -> EncoderArtifact:
    """Write the twin of `release / encoder.path` under `out`, at the same relative path, where its driver
    opens it. Memory: the graph; the data file is linked."""
    file = ArtifactFile.open(release / encoder.path)
    join_parts(file.model)
    set_metadata(file.model, {ARITHMETIC_KEY: "fp32"})
    path = out / encoder.path
    path.parent.mkdir(parents=True, exist_ok=True)
    link_data(file, path.parent)
    in_float(file)
    onnx.save(file.model, str(path))
    return encoder
