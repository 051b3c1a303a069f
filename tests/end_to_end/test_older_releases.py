"""Releases made before contexts and states were rounded up are validated as they are.

Matrix: a context that is no multiple of what a runtime wants today, in LiteRT (16) and Core ML (32), made
with the rounding taken out. Not about manifests of schema 1 (tests/unit/exporter/packaging).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter.cli import main
from exporter.formats.coreml import COREML
from exporter.formats.litert import LITERT
from exporter.planning.variants import Variant
from runtimes.manifest import read_manifest
from tests.checkpoints import write_huggingface
from tests.tiny import WINDOW

CONTEXT = 50


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def older(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with the context that was asked for, and Core ML states of the window."""

    def as_asked(variant: Variant, most: int) -> int:
        return variant.context

    out = tmp_path_factory.mktemp("older") / "release"
    command = ["--target", "all", "--format", "litertlm", "--format", "coreml", "--model", str(checkpoint)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.planning.plan._rounded_context", as_asked)
        patch.setattr("exporter.formats.coreml.STATE_MULTIPLE", 1)
        flags = ["--context", str(CONTEXT), "--validation-tokens", "40", "--no-accelerators"]
        result = CliRunner().invoke(main, [*command, *flags, "-o", str(out)])
    assert result.exit_code == 0, result.output
    return out


def test_it_is_validated_with_the_context_it_has(older: Path, checkpoint: Path) -> None:
    assert all(CONTEXT % family.context_multiple for family in (LITERT, COREML))
    assert {artifact.context for artifact in read_manifest(older).artifacts} == {CONTEXT}
    model = (older / "coreml" / "model.mlpackage" / "Data/com.apple.CoreML/model.mlmodel").read_bytes()
    assert f"keyCache_{WINDOW}x".encode() in model
    flags = ["--model", str(checkpoint), "--validation-tokens", "40", "--no-accelerators"]
    result = CliRunner().invoke(main, ["validate", str(older), *flags])
    assert result.exit_code == 0, result.output
    assert "gates hold" in " ".join(result.output.split())
