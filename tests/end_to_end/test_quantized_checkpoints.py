"""`gemma-export quantize` on a tiny model: what it writes, that a killed run ends in the same bytes, and
what it refuses, of which nothing is left.

Not about how good codes are (tests/properties) or what becomes of them in an artifact.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from compressed_tensors.quantization import QuantizationArgs

from exporter.checkpoints.files.safetensors_file import SafetensorsFile
from exporter.cli import main
from exporter.quantization.store.checkpoint import open_quantized
from exporter.quantization.store.safetensors_writer import write_safetensors
from exporter.resources import data_directory
from tests.checkpoints import write_huggingface
from tests.unit.exporter.checkpoints.packed_checkpoints import write_packed

PATIENCE = 180.0  # seconds; a tiny checkpoint takes some ten
SAMPLES = data_directory("samples")


def command(checkpoint: Path, out: Path, recipe: str, *more: str | Path) -> list[str]:
    given = ("quantize", "--model", checkpoint, "--recipe", recipe, "-o", out, *more)
    return [str(each) for each in given]


def quantize(checkpoint: Path, out: Path, recipe: str = "int4", *more: str | Path) -> Result:
    return CliRunner().invoke(main, command(checkpoint, out, recipe, *more))


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("made") / "int4"
    return out, quantize(checkpoint, out)


def test_a_checkpoint_and_its_tokenizer_are_written_and_nothing_beside_them(
    made: tuple[Path, Result],
) -> None:
    out, result = made
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.parent.iterdir()] == ["int4"]
    assert {"config.json", "quantized.json", "vectors.safetensors", "tokenizer.json"} <= set(files(out))
    assert open_quantized(out).matrices["model.layers.0.mlp.up_proj.weight"].scheme.name == "int4-g32"


def test_it_says_each_layer_and_what_was_written(made: tuple[Path, Result]) -> None:
    out, result = made
    said = result.output
    for layer in range(1, 8):
        assert f"quantise: layers, {layer} of 7\n" in said
    assert "tiny, recipe int4: matrices by scheme: 49 int4-g32, 1 int8-channel.\n" in said
    assert ", 4.50 in the linears.\n" in said
    assert f"Quantised checkpoint: {out}\n" in said
    tensors = sum(
        tensor.nbytes
        for path in out.glob("*.safetensors")
        for name, tensor in SafetensorsFile.open(path).tensors.items()
        if not name.endswith("_shape")
    )
    assert f"{tensors:,} bytes of tensors" in said


def start(checkpoint: Path, out: Path) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "exporter.cli", *command(checkpoint, out, "int4")]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def matrices(out: Path) -> Mapping[str, int]:
    """Finished ones of a run that is under way, and the inode that one written again would not have."""
    found = out.parent.glob(f".{out.name}.work/quantize/quantized-*/*.safetensors")
    return {path.name: path.stat().st_ino for path in found}


def test_killed_runs_end_in_the_bytes_of_an_uninterrupted_one(
    tmp_path: Path, checkpoint: Path, made: tuple[Path, Result]
) -> None:
    out = tmp_path / "killed" / "int4"
    kept: Mapping[str, int] = {}
    for enough in (3, 30):
        process, end = start(checkpoint, out), time.monotonic() + PATIENCE
        while len(matrices(out)) < enough:
            assert process.poll() is None, "it ended before the point it was to be killed at"
            assert time.monotonic() < end
            time.sleep(0.0005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists()
        now = matrices(out)
        assert kept.items() <= now.items(), "finished matrices were written again"
        kept = now
    assert start(checkpoint, out).wait(PATIENCE) == 0
    assert files(out) == files(made[0])
    assert [path.name for path in out.parent.iterdir()] == ["int4"]


def test_the_working_directory_can_be_the_output(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "here"
    out.mkdir()
    monkeypatch.chdir(out)
    result = quantize(checkpoint, Path("."), "float")
    assert result.exit_code == 0, result.output
    assert {each.scheme.name for each in open_quantized(out).matrices.values()} == {"fp16"}
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_checkpoint_that_is_there_is_replaced_by_force_alone(
    tmp_path: Path, checkpoint: Path, made: tuple[Path, Result]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(made[0], out)
    refused = quantize(checkpoint, out, "float")
    assert refused.exit_code == 2
    assert "a quantised checkpoint is there already; give another --output, or --force" in refused.stderr
    assert files(out) == files(made[0])
    assert quantize(checkpoint, out, "float", "--force").exit_code == 0
    assert {each.scheme.name for each in open_quantized(out).matrices.values()} == {"fp16"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_what_is_not_ours_is_left_alone(
    tmp_path: Path, checkpoint: Path, made: tuple[Path, Result], force: tuple[str, ...]
) -> None:
    theirs, mixed = tmp_path / "theirs", tmp_path / "mixed"
    theirs.mkdir()
    shutil.copytree(made[0], mixed)
    for directory in (theirs, mixed):
        (directory / "thesis.tex").write_text("mine")
    said = quantize(checkpoint, theirs, "float", *force)
    assert said.exit_code == 2
    assert "is not a quantised checkpoint of gemma-export's" in said.stderr
    said = quantize(checkpoint, mixed, "float", *force)
    assert said.exit_code == 2
    assert "holds 'thesis.tex', which no quantised checkpoint has" in said.stderr
    assert files(theirs) == {"thesis.tex": b"mine"}
    assert files(mixed) == files(made[0]) | {"thesis.tex": b"mine"}


def test_codes_are_fitted_to_the_text_that_was_given(
    tmp_path: Path, checkpoint: Path, made: tuple[Path, Result]
) -> None:
    text = tmp_path / "own.txt"
    pieces = sorted((SAMPLES / "calibration").glob("*.txt"))
    text.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    out = tmp_path / "own"
    assert quantize(checkpoint, out, "int4", "--calibration", text).exit_code == 0
    own, shipped = (json.loads((each / "quantized.json").read_text())["methods"] for each in (out, made[0]))
    name = "model.layers.0.mlp.up_proj.weight"
    assert own[name]["settings"]["text"] != shipped[name]["settings"]["text"]


def short(place: Path) -> Path:
    (place / "text.txt").write_text("A sentence of its own. " * 20)
    return place / "text.txt"


def judged_on(place: Path) -> Path:
    return SAMPLES / "languages" / "german.txt"


def judged_on_in_other_letters(place: Path) -> Path:
    """A conversation of an evaluation text, every letter of it escaped."""
    text = (SAMPLES / "languages" / "russian.txt").read_text(encoding="utf-8")
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "Да."}]
    (place / "text.json").write_text(json.dumps([turns], ensure_ascii=True))
    return place / "text.json"


def in_latin_1(place: Path) -> Path:
    (place / "text.txt").write_bytes("Grüße".encode("latin-1"))
    return place / "text.txt"


def no_conversation(place: Path) -> Path:
    (place / "text.json").write_text('{"role": "user"}')
    return place / "text.json"


@pytest.mark.parametrize(
    ("recipe", "write", "complaint"),
    [
        ("int4", short, "in whole sequences of 256, and the recipe wants "),
        ("int8", short, "in whole sequences of 256, and the recipe wants "),
        ("int4", judged_on, "holds text that releases are judged on (languages/german.txt"),
        (
            "int4",
            judged_on_in_other_letters,
            "that releases are judged on (languages/russian.txt",
        ),
        ("int4", in_latin_1, "name a UTF-8 file"),
        ("int4", no_conversation, "expected a list of messages"),
        ("int4", lambda place: place / "gone.txt", "cannot be read as text"),
        ("float", short, "recipe float uses no calibration text"),
    ],
)
def test_calibration_text_that_cannot_serve_is_refused(
    tmp_path: Path, checkpoint: Path, recipe: str, write: Callable[[Path], Path], complaint: str
) -> None:
    (tmp_path / "text").mkdir()
    text = write(tmp_path / "text")
    refused(quantize(checkpoint, tmp_path / "out", recipe, "--calibration", text), complaint)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_activations_beyond_float32_are_refused_by_layer(tmp_path: Path) -> None:
    broken = write_huggingface(tmp_path / "tiny")
    file = SafetensorsFile.open(broken / "model.safetensors")
    values = {
        name: np.frombuffer(file.read_bytes(name, 0, tensor.nbytes), np.float32).reshape(tensor.shape)
        for name, tensor in file.tensors.items()
    }
    norm = "model.layers.3.input_layernorm.weight"
    values[norm] = np.full_like(values[norm], 3e38)
    write_safetensors(
        broken / "model.safetensors",
        {name: ("F32", each.shape) for name, each in values.items()},
        ((name, 0, each) for name, each in values.items()),
    )
    said = quantize(broken, tmp_path / "out")
    refused(said, "model.layers.3.self_attn.q_proj.weight of layer 3: what enters it on calibration text")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_checkpoint_of_few_bits_in_another_scheme_is_not_quantised_again(tmp_path: Path) -> None:
    groups = QuantizationArgs(num_bits=4, symmetric=True, strategy="group", group_size=64)
    write_packed(tmp_path / "packed", weights=groups, scale_dtype=torch.float16)
    said = quantize(tmp_path / "packed", tmp_path / "out")
    refused(
        said, "would find new codes for a checkpoint whose matrices are int4-g64 already; choose as-stored"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def refused(result: Result, complaint: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert complaint in result.stderr
