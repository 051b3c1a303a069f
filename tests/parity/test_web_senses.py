"""The gates of pictures and sounds on transformers.js in browsers, of tiny models: every one passes.

Matrix: Gemma 3 and Gemma 4 E2B that see, E2B that hears, in int8, each in engines that `CASES` names; one
run each, from the sample's file to the answer. What a browser made of the sample is told apart from what
gemma-export makes of it. Not asserted: that gates can fail
(tests/unit/exporter/validation/test_path_answers.py), or real weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.formats.web_paths import PACKAGES_VARIABLE, WEB_PATHS
from exporter.lowering.table import lowerings_for
from exporter.validation.report import PathExecution
from exporter.validation.verdict import Passed
from runtimes.onnx.transformers_js import Engine
from tests.seeing_models import hearing, seeing
from tests.web_engines import PACKAGES, require

OF_A_BROWSER = 5  # gates: two on rows, three on the answer; one more where there is an adapter
# SwiftShader takes half a minute of two cores for each.
CASES: tuple[tuple[str, str, tuple[Engine, ...]], ...] = (
    ("Gemma 3", "sees", ("node", "wasm")),
    ("Gemma 4 E2B", "sees", ("wasm", "webgpu")),
    ("Gemma 4 E2B", "hears", ("webgpu",)),
)


@pytest.mark.parametrize(("kind", "sense", "engines"), CASES)
def test_a_browser_answers_about_a_file_what_the_artifact_does(
    kind: str, sense: str, engines: tuple[Engine, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine in engines:
        require(engine)
    monkeypatch.setenv(PACKAGES_VARIABLE, str(PACKAGES))
    model = (seeing if sense == "sees" else hearing)(tmp_path, kind)
    (lowering,) = lowerings_for(["onnx-web"]).values()
    release = model.release(lowering, "release", "onnx-web", chunk=16)
    paths = tuple(path for path in WEB_PATHS if path.name.removeprefix("onnx-web-") in engines)
    findings = model.findings(replace(release, paths=lambda _: paths), lowering)
    for path, run in zip(paths, findings.paths, strict=True):
        assert isinstance(run.result, PathExecution), run.result
        gates = [gate for gate in findings.gates if gate.subject == path.title]
        assert all(isinstance(gate.verdict, Passed) for gate in gates), gates
        assert len(gates) == OF_A_BROWSER + (run.result.left_over is not None)
        (remark,) = run.result.remarks
        assert "from gemma-export's" in remark, "shapes are the same, numbers may not be"
