"""Towers, and decoders behind their rows, on an emulated Cortex-A76 against the same artifacts on this
machine's CPU.

Matrix: a tiny Gemma 3 that sees in LiteRT, a tiny Gemma 4 E2B that hears in ONNX; rows of a tower, then a
prompt with these rows, fed and decoded. Asserted: rows, mean KL, and that rows of nothing are another
answer. That gates on it can fail is `tests/unit/exporter/validation/test_tower_paths.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from exporter.formats.arm64_path import arm64_missing, arm64_path
from exporter.formats.execution_path import SensingOrder
from exporter.formats.table import family_of
from exporter.lowering.table import lowerings_for
from runtimes.formats import Format
from runtimes.multimodal.fed_prompt import FedPrompt, behind_each
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.open import open_image_encoder, open_multimodal_session, open_sound_encoder
from runtimes.opening import EncoderOpening
from tests.heard_sounds import sound
from tests.seeing_models import Sensing, hearing, seeing
from tests.seen_pictures import picture
from tests.tiny_encoders import SOUND_SOFT
from tests.tiny_releases import mean_kl, some_tokens
from tests.tiny_towers import SOFT

CPU = "cortex-a76"
# Measured: 2e-5 and 5e-5 of a row's length, and 2e-8 to 4e-7 nats.
ROWS, KL = 1e-3, 1e-5


@dataclass(frozen=True)
class Case:
    format: Format
    kind: str
    made: Callable[[Path, str], Sensing]
    of: RowKind
    soft: int


CASES = (
    Case("litertlm", "Gemma 3", seeing, "image", SOFT),
    Case("onnx", "Gemma 4 E2B", hearing, "sound", SOUND_SOFT),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}-{case.of}")
def test_it_makes_and_takes_rows_as_this_machine_does(case: Case, tmp_path: Path) -> None:
    if (why := arm64_missing(CPU)) is not None:
        pytest.skip(why)
    model, (lowering,) = case.made(tmp_path, case.kind), lowerings_for([case.format]).values()
    release = model.release(lowering, "release", case.format, chunk=16)
    component = "vision" if case.of == "image" else "audio"
    (encoder,) = [each for each in release.encoders if each.component == component]
    opening = EncoderOpening(release.directory, encoder, release.artifacts[0], 2, "fp32")
    plan = release.plan
    path = arm64_path(family_of(case.format), CPU, plan.schemes.values(), plan.weight_bytes)
    assert path.sensing is not None

    def order(name: str) -> SensingOrder:
        scratch = tmp_path / name
        scratch.mkdir()
        return SensingOrder(release.directory, encoder, release.artifacts[0], scratch, 300)

    if case.of == "image":
        seen = picture(model.checkpoint.components["vision"].spec)
        made = path.sensing.rows(order("rows"), (seen,))
        with open_image_encoder(opening) as tower:
            rows = tower.rows(seen)
    else:
        heard = sound(model.checkpoint.components["audio"].spec)
        made = path.sensing.rows(order("rows"), (heard,))
        with open_sound_encoder(opening) as ears:
            rows = ears.rows(heard)
    assert np.linalg.norm(made.rows[0] - rows) < ROWS * np.linalg.norm(rows)
    tokens = some_tokens(22 + len(rows)).copy()
    tokens[6 : 6 + len(rows)] = case.soft
    asked = tuple(
        FedPrompt(tokens, (PlacedRows(6, each, case.of),), (0, 14 + len(rows)), 16 + len(rows))
        for each in (made.rows[0], made.rows[0] * 0)
    )
    with open_multimodal_session(opening) as session:
        here = behind_each(session, asked, lambda said: None)
    there = path.sensing.behind(order("behind"), asked)
    assert there.device == made.device
    assert CPU in there.device
    assert max(map(mean_kl, here, there.logits)) < KL
    assert mean_kl(there.logits[0], there.logits[1]) > 1e3 * KL
