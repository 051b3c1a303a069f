"""The image gates on the formats' own artifacts and drivers, of tiny models: every one of them passes.

Matrix: formats that take images, before towers of Gemma 3 and, but for Core ML, of Gemma 4 E2B. Not
asserted: that gates can fail (unit tests of `tower_check`), or what vendors' engines do themselves.
"""

from __future__ import annotations

from pathlib import Path

import litert_lm
import pytest

from exporter.lowering.litert.stand_in import write_stand_in
from exporter.lowering.table import lowerings_for
from exporter.validation.placed_prompts import named_places
from exporter.validation.verdict import Passed
from runtimes.formats import Format
from runtimes.litert.container import EXECUTOR_KIND, read_sections
from runtimes.open import MULTIMODAL_SESSIONS
from tests.seeing_models import seeing

# The MIL evaluator takes a minute for E2B's layers.
CASES = [
    (format, kind)
    for format in MULTIMODAL_SESSIONS
    for kind in ("Gemma 3", "Gemma 4 E2B")
    if (format, kind) != ("coreml", "Gemma 4 E2B")
]


@pytest.mark.parametrize(("format", "kind"), CASES)
def test_a_release_that_sees_passes_every_gate(format: Format, kind: str, tmp_path: Path) -> None:
    model = seeing(tmp_path, kind)
    (lowering,) = lowerings_for([format]).values()
    findings = model.findings(model.release(lowering, "release", format, chunk=16), lowering)
    wrong = [gate for gate in findings.gates if not isinstance(gate.verdict, Passed)]
    assert not wrong, findings.not_checked
    assert {each.route for each in findings.comparisons} > set(named_places("picture"))


def test_litert_lm_opens_what_renders_the_prompts_of_a_bundle_that_sees(tmp_path: Path) -> None:
    """It opens no model with what says how another's masks are."""
    model = seeing(tmp_path, "Gemma 3")
    (lowering,) = lowerings_for(["litertlm"]).values()
    release = model.release(lowering, "release", "litertlm", chunk=16)
    bundle, stand_in = release.directory / release.artifacts[0].path, tmp_path / "prompts.litertlm"
    write_stand_in(bundle, stand_in)
    assert EXECUTOR_KIND in {each.kind for each in read_sections(bundle)}
    assert litert_lm.Engine(str(stand_in), backend=litert_lm.Backend.CPU()) is not None
