"""The KV cache a report speaks of, held against the tensors of written artifacts, in every format.

Matrix: format x (Gemma 3; Gemma 4 E2B, whose layers have two head sizes and share caches); Gemma 3 with
images where calls are of a fixed length and where they are not. The figure is
worked out from the spec; here the artifact's own cache tensors are added up, as their runtime sees them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import onnxruntime
import pytest

from exporter.formats.coreml import COREML, STATE_MULTIPLE
from exporter.formats.onnx import ONNX
from exporter.formats.table import family_of
from exporter.lowering.table import lowerings_for
from exporter.models.text.spec import ModelSpec
from exporter.planning.estimates import CacheSize, cache_size
from exporter.schemes import INT8_CHANNEL
from runtimes.formats import FORMATS, Format
from runtimes.litert.compiled import close_model, compile_model
from runtimes.litert.model_file import model_files
from runtimes.manifest import Artifact
from tests.fakes import silent
from tests.jobs import a_plan, a_variant
from tests.parity.coreml_packages import short_e2b
from tests.seeing_models import seeing
from tests.tiny import WINDOW, tiny_gemma3
from tests.tiny_releases import lowering_order, quantized

CONTEXT, CHUNK = 64, 8
CONFIGS = {"Gemma 3": tiny_gemma3, "Gemma 4 E2B": short_e2b}
HALF_FLOAT = coremltools.proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT16


@dataclass(frozen=True)
class Release:
    directory: Path
    spec: ModelSpec
    artifacts: dict[Format, Artifact]


@pytest.fixture(scope="module", params=CONFIGS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A tiny model in every format, in one directory."""
    out = tmp_path_factory.mktemp("release")
    checkpoint = quantized(tmp_path_factory.mktemp("quantized"), CONFIGS[request.param](), INT8_CHANNEL)
    order = lowering_order(checkpoint, out, context=CONTEXT, prefill_chunk=CHUNK)
    artifacts = [
        artifact
        for lowering in lowerings_for(FORMATS).values()
        for artifact in lowering.lower(order, out, silent)
    ]
    return Release(
        out, checkpoint.components["text"].spec, {artifact.format: artifact for artifact in artifacts}
    )


def coreml_states(path: Path) -> int:
    states = coremltools.utils.load_spec(str(path)).description.state
    arrays = [state.type.stateType.arrayType for state in states]
    assert {array.dataType for array in arrays} == {HALF_FLOAT}
    return sum(2 * math.prod(array.shape) for array in arrays)


def onnx_inputs(path: Path, context: int) -> int:
    """The length of a cache is the caller's: ours and onnxruntime-genai's is the whole context."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    caches = [each for each in session.get_inputs() if each.name.startswith("past_key_values.")]
    assert {each.type for each in caches} == {"tensor(float)"}
    shapes = [[side if isinstance(side, int) else context for side in each.shape] for each in caches]
    assert all(shape.count(context) >= 1 for shape in shapes)
    return sum(4 * math.prod(shape) for shape in shapes)


def litert_inputs(path: Path, place: Path) -> int:
    model: Any = compile_model(model_files(path, place).text, place, 1)
    try:
        tensors = model.get_input_tensor_details("decode").items()
        caches = [each for name, each in tensors if name.startswith("kv_cache_")]
        return sum(np.dtype(each["dtype"]).itemsize * math.prod(each["shape"]) for each in caches)
    finally:
        close_model(model)


COUNTED: dict[Format, Callable[[Path, int, Path], int]] = {
    "coreml": lambda path, context, place: coreml_states(path),
    "onnx": lambda path, context, place: onnx_inputs(path, context),
    "onnx-web": lambda path, context, place: onnx_inputs(path, context),
    "tflite": lambda path, context, place: litert_inputs(path, place),
    "litertlm": lambda path, context, place: litert_inputs(path, place),
}


@pytest.mark.parametrize("format", FORMATS)
def test_the_cache_of_the_report_is_that_of_the_artifact(
    format: Format, release: Release, tmp_path: Path
) -> None:
    artifact = release.artifacts[format]
    assert artifact.context == CONTEXT > WINDOW
    counted = COUNTED[format](release.directory / artifact.path, CONTEXT, tmp_path)
    assert cache_size(release.spec, CONTEXT, CHUNK, family_of(format)).bytes == counted


@pytest.mark.parametrize("format", ["litertlm", "onnx"])
def test_the_cache_of_a_release_that_sees_is_that_of_what_takes_images(
    format: Format, tmp_path: Path
) -> None:
    """A bundle's rings have room for the call that an image of a Gemma 3 lies in."""
    model = seeing(tmp_path, "Gemma 3")
    (lowering,) = lowerings_for([format]).values()
    release = model.release(lowering, "release", format)
    (artifact,) = release.artifacts
    spec = model.checkpoint.components["text"].spec
    variant = replace(a_variant("int8", (format,), context=artifact.context), soft_tokens=4)
    plan = a_plan(model.source, variant)
    longest = plan.longest_call(format, artifact.prefill_chunk)
    assert longest == (256 if format == "litertlm" else artifact.prefill_chunk)
    path = release.directory / release.encoders[0].decoder
    counted = COUNTED[format](path, artifact.context, tmp_path)
    assert cache_size(spec, artifact.context, longest, family_of(format)).bytes == counted


def test_what_lies_outside_the_windows_is_what_core_ml_leaves_out(release: Release) -> None:
    """But for what a state's size is rounded up by, from 16 to 32 of 64."""
    whole, windows = (cache_size(release.spec, CONTEXT, CHUNK, family) for family in (ONNX, COREML))
    sliding = [layer for layer in release.spec.cache_layers if layer.window is not None]
    position = sum(2 * layer.kv_heads * layer.head_dim for layer in sliding)
    assert whole.outside_windows == 4 * position * (CONTEXT - WINDOW)
    assert windows.outside_windows == 2 * position * (STATE_MULTIPLE - WINDOW)
    assert windows.bytes * 2 == whole.bytes - 4 * position * (CONTEXT - STATE_MULTIPLE)
    assert cache_size(release.spec, WINDOW, CHUNK, ONNX) == CacheSize(
        cache_size(release.spec, WINDOW, CHUNK, COREML).bytes * 2, 0
    )
