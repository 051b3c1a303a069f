"""Devices are judged by what was written, file by file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.planning.candidates import AskedFor
from exporter.planning.planner import Planner
from exporter.planning.profiles import Target, load_profile
from exporter.validation.device_verdicts import device_verdicts
from runtimes.manifest import Artifact, EncoderArtifact
from tests.unit.exporter.planning.test_planner import model

GRAPHS = {
    "onnx/model_quantized.onnx": 10,
    "onnx/model_quantized.onnx_data": 3_000,
    "onnx/vision_encoder_quantized.onnx": 10,
    "onnx/vision_encoder_quantized.onnx_data": 5_000,
}


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (5_000, None),
        (4_999, "takes 5,000 bytes, and a file that is read there 4,999 bytes at most"),
        (2_900, "takes 5.0 kB, and a file that is read there 2.9 kB at most"),
    ],
)
def test_the_largest_file_on_disk_is_held_against_what_is_read_there(
    tmp_path: Path, most: int, said: str | None
) -> None:
    for name, size in GRAPHS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    profile = load_profile("default-web")
    assert profile.largest_file is not None
    (plan,) = Planner(model("gemma-3-270m")).plan(Target(profile.name, (profile,)), AskedFor()).plans
    small = replace(profile, largest_file=replace(profile.largest_file, bytes=most))
    release: Any = SimpleNamespace(
        directory=tmp_path,
        plan=replace(plan, variant=replace(plan.variant, devices=(small,))),
        artifacts=(Artifact("text", "onnx-web", "onnx/model_quantized.onnx", 72, 256, 16, "last"),),
        encoders=(
            EncoderArtifact(
                "vision", "onnx-web", "onnx/vision_encoder_quantized.onnx", "onnx/d.onnx", 4, 8
            ),
        ),
    )
    components = {"text": SimpleNamespace(spec=model("gemma-3-270m").spec)}
    job: Any = SimpleNamespace(source=SimpleNamespace(components=components))
    report: Any = SimpleNamespace(runs=(SimpleNamespace(format="onnx-web", bytes=3_010),))
    (verdict,) = device_verdicts(job, release, report)
    assert verdict.artifacts[0].artifact_bytes == sum(GRAPHS.values()), "tower and text"
    assert verdict.fit == ("fits" if said is None else "does not fit")
    if said is not None:
        assert f"vision_encoder_quantized.onnx_data of onnx-web {said} (sourced: " in verdict.reason
