"""Opening an artifact of a release with the driver its format asks for: one explicit table.

Not about checking that the release is what its manifest says (`runtimes.manifest`). Each driver imports
its vendor's runtime when it opens something, not before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from runtimes import litert, mil, onnx
from runtimes.coreml.session import ComputeUnits, CoreMlSession
from runtimes.formats import Format
from runtimes.images.prepared import ImageEncoder
from runtimes.manifest import Artifact
from runtimes.multimodal.session import MultimodalSession
from runtimes.opening import EncoderOpening, MilArithmetic, Opening
from runtimes.session import Session
from runtimes.sounds.prepared import SoundEncoder

Opener = Callable[[Path, Artifact], Session]
"""(release, artifact) to a session."""

DRIVERS: dict[Format, Callable[[Opening], Session]] = {
    "tflite": litert.open_artifact,
    "litertlm": litert.open_artifact,
    "onnx": onnx.open_artifact,
    "onnx-web": onnx.open_artifact,
    "coreml": mil.open_artifact,
}

IMAGE_ENCODERS: dict[Format, Callable[[EncoderOpening], ImageEncoder]] = {
    "litertlm": litert.open_image_encoder,
    "onnx": onnx.open_image_encoder,
    "onnx-web": onnx.open_image_encoder,
    "coreml": mil.open_image_encoder,
}
SOUND_ENCODERS: dict[Format, Callable[[EncoderOpening], SoundEncoder]] = {
    "litertlm": litert.open_sound_encoder,
    "onnx": onnx.open_sound_encoder,
    "onnx-web": onnx.open_sound_encoder,
    "coreml": mil.open_sound_encoder,
}
MULTIMODAL_SESSIONS: dict[Format, Callable[[EncoderOpening], MultimodalSession]] = {
    "litertlm": litert.open_multimodal_session,
    "onnx": onnx.open_multimodal_session,
    "onnx-web": onnx.open_multimodal_session,
    "coreml": mil.open_multimodal_session,
}
"""By format; one that is not here takes no images, or no sounds."""

APPLE: dict[Format, tuple[ComputeUnits, ...]] = {"coreml": ("CPU_ONLY", "CPU_AND_GPU", "ALL")}
"""What Core ML may place a format's artifacts on, each tried by itself."""


def open_session(
    release: Path, artifact: Artifact, *, threads: int = 2, mil_arithmetic: MilArithmetic = "fp16"
) -> Session:
    """Open one decoder of a release.

    Core ML packages are executed by the MIL evaluator, in the arithmetic asked for; Apple's runtime
    is opened explicitly, through `runtimes.coreml`. Raises RuntimeUnavailable where the vendor
    runtime is not installed, ArtifactError where the bytes are damaged.
    """
    opening = Opening(release / artifact.path, artifact, threads, mil_arithmetic)
    return DRIVERS[artifact.format](opening)


def open_image_encoder(opening: EncoderOpening) -> ImageEncoder:
    """Open the image tower of a format. Raises as `open_session`."""
    return IMAGE_ENCODERS[opening.encoder.format](opening)


def open_sound_encoder(opening: EncoderOpening) -> SoundEncoder:
    """Open the audio encoder of a format. Raises as `open_session`."""
    return SOUND_ENCODERS[opening.encoder.format](opening)


def open_multimodal_session(opening: EncoderOpening) -> MultimodalSession:
    """Open the decoder that takes a tower's rows. Raises as `open_session`."""
    return MULTIMODAL_SESSIONS[opening.encoder.format](opening)


def openers_of_this_system(artifact: Artifact, system: str = sys.platform) -> tuple[Opener, ...]:
    """Other ways to open a decoder, by a runtime that comes with the system: on a Mac, Core ML itself on
    each choice of processors."""
    if system != "darwin":
        return ()
    return tuple(_by_core_ml(units) for units in APPLE.get(artifact.format, ()))


def _by_core_ml(units: ComputeUnits) -> Opener:
    return lambda release, artifact: CoreMlSession.open(release / artifact.path, artifact, units)
