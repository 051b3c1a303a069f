"""Quantised checkpoints, from the command line to a release: what is taken over is kept to the bit.

Matrix: a Q4_0 GGUF with int4 and as-stored for ONNX, with LiteRT beside it, and checked again; a
compressed-tensors checkpoint for all three runtimes. Not asserted here: what each source refuses.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gguf
import numpy as np
import pytest
from click.testing import CliRunner, Result

from exporter.checkpoints.gguf.file import GgufFile
from exporter.checkpoints.gguf.source import GgufSource
from exporter.cli import main
from exporter.lowering.onnx.read_back import read_back
from exporter.validation.report import ValidationReport
from exporter.validation.weight_origins import WeightOrigin
from exporter.views.json_report import read_report
from tests.checkpoints import write_huggingface
from tests.tiny import RandomSource, tiny_gemma3
from tests.unit.exporter.checkpoints.packed_checkpoints import write_packed
from tests.unit.exporter.checkpoints.written_gguf import tiny_architecture, write_gguf

LINEARS = 49  # seven layers of seven
REFUSED = "litert takes no scale below 0"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every matrix as Q4_0, the embedding too."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.gguf"
    return write_gguf(RandomSource(tiny_gemma3()), path, kinds=("Q4_0",))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model among the published ones."""
    opened = partial(GgufSource.open, known=(tiny_architecture(),))
    monkeypatch.setattr(GgufSource, "open", staticmethod(opened))


def export(checkpoint: Path, out: Path, recipe: str, *formats: str) -> Result:
    asked = [part for each in formats for part in ("--format", each)]
    shape = ("--target", "desktop", "--recipe", recipe, "--context", "96", *asked)
    return run("--model", checkpoint, *shape, "-o", out)


def reported(release: Path) -> ValidationReport:
    return read_report(release / "report.json")


def assert_onnx_holds_the_files_values(release: Path, checkpoint: Path, names: set[str]) -> None:
    source, file = GgufSource.open(checkpoint), GgufFile.open(checkpoint)
    seen = set()
    for stored in read_back(release / "onnx" / "model.onnx"):
        if stored.weight not in names:
            continue
        assert stored.codes is not None
        assert stored.scales is not None
        tensor = file.tensors[source.stored_names[stored.weight]]
        rows = file.read_rows(tensor.name, stored.start, stored.start + len(stored.codes))
        values = stored.codes.reshape(*stored.scales.shape, -1) * stored.scales[..., None]
        np.testing.assert_array_equal(
            values.reshape(stored.codes.shape), gguf.dequantize(rows, tensor.kind)
        )
        seen.add(stored.weight)
    assert seen == names


def matrices() -> set[str]:
    return {
        weight.name for weight in RandomSource(tiny_gemma3()).components["text"].weights if weight.is_matrix
    }


def test_int4_takes_the_linears_of_a_q4_0_file_over_bit_for_bit(checkpoint: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"
    result = export(checkpoint, release, "int4", "onnx")
    assert result.exit_code == 0, result.output
    assert reported(release).weights == (
        WeightOrigin("requantised", "Q4_0", "int8-channel", 1, None),
        WeightOrigin("taken over", "Q4_0", "int4-g32", LINEARS, None),
    )
    assert_onnx_holds_the_files_values(release, checkpoint, matrices() - {"model.embed_tokens.weight"})
    sentence = "49 matrices taken over unchanged from Q4_0, as int4-g32."
    assert sentence in " ".join(result.output.split())
    assert sentence in (release / "report.html").read_text(encoding="utf-8")
    assert sentence.replace("_", "\\_") in (release / "README.md").read_text(encoding="utf-8")


def test_as_stored_keeps_everything_and_can_be_checked_again(checkpoint: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"
    result = export(checkpoint, release, "as-stored", "onnx")
    assert result.exit_code == 0, result.output
    report = reported(release)
    assert report.weights == (WeightOrigin("taken over", "Q4_0", "int4-g32", LINEARS + 1, None),)
    (price,) = (each for each in report.comparisons if each.kind == "quantisation")
    assert {each.relative for each in report.weight_errors} == {0.0}
    assert price.statistics.mean_kl < 1e-6  # of rounding norms to fp16: the matrices cost nothing
    assert_onnx_holds_the_files_values(release, checkpoint, matrices())
    again = run("validate", release, "--model", checkpoint)
    assert again.exit_code == 0, again.output
    assert "50 matrices taken over unchanged" in " ".join(again.output.split())


def test_with_litert_beside_it_everything_is_requantised_and_says_why(
    checkpoint: Path, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    result = export(checkpoint, release, "int4", "onnx", "tflite")
    assert result.exit_code == 0, result.output
    assert reported(release).weights == (
        WeightOrigin("requantised", "Q4_0", "int8-channel", 1, None),
        WeightOrigin("requantised", "Q4_0", "int4-g32", LINEARS, REFUSED),
    )


def test_as_stored_for_litert_is_refused_before_any_work(checkpoint: Path, tmp_path: Path) -> None:
    result = export(checkpoint, tmp_path / "release", "as-stored", "onnx", "tflite")
    assert result.exit_code == 2
    assert f"none to keep: {REFUSED}" in result.stderr
    assert not list(tmp_path.iterdir())


def test_as_stored_of_a_float_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint = write_huggingface(tmp_path / "tiny")
    result = export(checkpoint, tmp_path / "release", "as-stored", "onnx")
    assert result.exit_code == 2
    assert "holds none that a scheme has exactly; choose int8 or int4" in result.stderr


def test_what_compressed_tensors_packed_is_taken_over_by_all_three_runtimes(tmp_path: Path) -> None:
    write_packed(tmp_path / "qat-w4a16-ct")
    release = tmp_path / "release"
    result = run(
        *("--model", tmp_path / "qat-w4a16-ct", "--target", "all", "--recipe", "int4"),
        *("--context", "96", "-o", release),
    )
    assert result.exit_code == 0, result.output
    report = reported(release)
    assert {run.format for run in report.runs} == {"litertlm", "onnx", "onnx-web", "coreml"}
    assert report.weights == (
        WeightOrigin("quantised", "BF16", "int8-channel", 1, None),
        WeightOrigin("taken over", "int4 pack-quantized", "int4-g32", LINEARS, None),
    )
