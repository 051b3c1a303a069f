"""The gates on sounds on the formats' own artifacts and drivers, of tiny models: every one of them passes.

Matrix: formats that take sounds, before encoders of both kinds, in Core ML of the 12B alone. Not asserted:
that gates can fail (unit tests of `tower_check`), or what vendors' engines do themselves.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.lowering.table import lowerings_for
from exporter.validation.placed_prompts import BESIDE, named_places
from exporter.validation.verdict import Passed
from runtimes.formats import Format
from runtimes.open import SOUND_ENCODERS
from tests.seeing_models import hearing
from tests.tiny_encoders import TINY_ENCODERS

# In a browser the 12B takes text alone; the MIL evaluator takes a minute for E2B's layers.
LEFT_OUT = {("onnx-web", "Gemma 4 12B"), ("coreml", "Gemma 4 E2B")}
CASES = [
    (format, kind) for format in SOUND_ENCODERS for kind in TINY_ENCODERS if (format, kind) not in LEFT_OUT
]


@pytest.mark.parametrize(("format", "kind"), CASES)
def test_a_release_that_hears_passes_every_gate(format: Format, kind: str, tmp_path: Path) -> None:
    model = hearing(tmp_path, kind)
    (lowering,) = lowerings_for([format]).values()
    findings = model.findings(model.release(lowering, "release", format, chunk=16), lowering)
    wrong = [gate for gate in findings.gates if not isinstance(gate.verdict, Passed)]
    assert not wrong, findings.not_checked
    assert {each.route for each in findings.comparisons} > {*named_places("sound"), BESIDE.format("sound")}
