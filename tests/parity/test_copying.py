"""Facts from far back in real artifacts: nothing is lost, and a damaged one fails.

Matrix: LiteRT, ONNX x as written; LiteRT x another RoPE base; ONNX x RoPE wrong past the window alone. Tiny
Gemma 3, facts 60 and 120 tokens back where the window is 16. Core ML takes the same code, and its evaluator
minutes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.formats.table import drivers_of
from exporter.lowering.table import lowerings_for
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.copy_text import copying_text
from exporter.reference.peak import SCORES
from exporter.reference.peaks import Peaks
from exporter.reference.streamed import reference_choices, reference_decisions
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights
from exporter.validation.copying import Copying, answers_of, judge_execution
from exporter.validation.findings import Findings
from exporter.validation.report import Gate
from exporter.validation.verdict import Failed, Passed
from runtimes.formats import Format
from runtimes.manifest import Artifact
from tests.corruption import litert
from tests.corruption.onnx import OpenGraph
from tests.fakes import silent
from tests.jobs import a_plan, a_variant
from tests.tiny import TINY_CONFIGS, WINDOW, RandomSource, tiny_gemma3
from tests.tiny_releases import lowering_order

FORMATS: tuple[Format, ...] = ("tflite", "onnx")
DISTANCES = (60, 120)


@dataclass(frozen=True)
class Honest:
    directory: Path
    artifacts: dict[Format, Artifact]
    copying: Copying

    def judged(self, directory: Path, format: Format) -> Gate:
        findings, artifact = Findings(), self.artifacts[format]
        (driver,) = drivers_of(format)
        with driver.open(directory, artifact) as session:
            found = answers_of(session, self.copying.text, lambda done: None)
        asked = np.ones(len(found), bool)
        judge_execution(findings, artifact.path, driver.arithmetic, self.copying, asked, found)
        (gate,) = findings.gates
        return gate

    def copied(self, to: Path) -> Path:
        return Path(shutil.copytree(self.directory, to / "release"))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    directory, source = tmp_path_factory.mktemp("release"), RandomSource(tiny_gemma3())
    plan = a_plan(source, a_variant("int8", FORMATS, context=512))
    checkpoint = write_quantized(source, plan.schemes, tmp_path_factory.mktemp("quantised"), silent)
    order = lowering_order(checkpoint, directory, context=512)
    artifacts = {
        artifact.format: artifact
        for lowering in lowerings_for(FORMATS).values()
        for artifact in lowering.lower(order, directory, silent)
    }
    text = copying_text(Texts.of(source), DISTANCES)
    original, quantised = (
        reference_decisions(weights, text.tokens, text.positions, silent)
        for weights in (OriginalWeights(source), UnpackedWeights(checkpoint))
    )
    return Honest(directory, artifacts, Copying(text, original, quantised))


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_lost_as_it_was_written(honest: Honest, format: Format) -> None:
    assert honest.judged(honest.directory, format).verdict == Passed(0, 0, "tokens")


def test_another_rope_base_loses_tokens(honest: Honest, tmp_path: Path) -> None:
    release = honest.copied(tmp_path)
    litert.corrupt(release / honest.artifacts["tflite"].path, "rope")
    assert isinstance(honest.judged(release, "tflite").verdict, Failed)


def test_rope_that_is_wrong_past_the_window_alone_loses_tokens(honest: Honest, tmp_path: Path) -> None:
    release = honest.copied(tmp_path)
    path = release / honest.artifacts["onnx"].path
    graph = OpenGraph(path, onnx.load(str(path), load_external_data=False))
    names = {
        name
        for turn in graph.nodes("GroupQueryAttention")
        for name in turn.input
        if name.startswith("rope.")
    }
    assert names
    for name in names:
        table = graph.data(name)  # [context, head_dim / 2]
        table[2 * WINDOW :] = table[2 * WINDOW]
    assert isinstance(honest.judged(release, "onnx").verdict, Failed)


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_a_reference_asked_at_some_positions_chooses_as_at_all_and_shows_its_scores(family: str) -> None:
    source, peaks = RandomSource(TINY_CONFIGS[family]()), Peaks()
    weights, tokens = OriginalWeights(source), np.arange(6, 70, dtype=np.int32)
    at = np.array([3, 40, 63])
    found = reference_decisions(weights, tokens, at, silent, peaks)
    np.testing.assert_array_equal(found.choices, reference_choices(weights, tokens[None], silent)[0, at])
    assert SCORES in {peak.module for peak in peaks.found}
