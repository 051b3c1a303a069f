"""One scale, one RoPE base, one mask, one norm: each damaged alone must blow Core ML's fp32 limit, in a
Gemma 4 too, whose layers have two head sizes and share caches.

The reference is the eager decoder, the limit the one whole packages keep (`test_coreml_decoder`). Of
Gemma 3: tests/contracts/test_lowering.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtimes.mil.session import MilSession
from tests.corruption.coreml import FAULTS, Fault, corrupt
from tests.parity.coreml_packages import TOKENS, eager_logits, lowered
from tests.tiny_releases import mean_kl

LIMIT = 1e-5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_beyond_the_limit(fault: Fault, tmp_path: Path) -> None:
    built = lowered("Gemma 4 E2B")
    package = tmp_path / "model.mlpackage"
    shutil.copytree(built.package, package)
    corrupt(package, fault)
    with MilSession.open(package) as session:
        measured = mean_kl(eager_logits(built.checkpoint), session.prefill(TOKENS))
    assert measured > 100 * LIMIT
