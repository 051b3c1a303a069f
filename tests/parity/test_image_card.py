"""What the card of a release that sees says of asking about a picture, run as it stands.

Of a tiny Gemma 3 with as many soft tokens as onnxruntime-genai knows. Asserted: no piece is left out; the
command and genai say the same, and something else about another picture. What they should say is asserted
elsewhere (`test_onnx_genai_images`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from exporter.cli import main
from exporter.packaging.release import files_below
from tests.parity.test_onnx_genai_images import quieten
from tests.pictures import noise, quadrants
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_towers import tiny_siglip

SAMPLES = {".png": "picture.png", ".wav": "sound.wav"}  # as a card calls them, by how they end
PIECE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("seeing")
    checkpoint = write_tiny_multimodal(place / "checkpoint", "Gemma 3", tiny_siglip(448, 256))
    quieten(checkpoint / "model.safetensors")
    command = ["--target", "desktop", "--model", str(checkpoint), "-o", str(place / "release")]
    told = ["--recipe", "float", "--context", "352", "--validation-tokens", "40", "--no-accelerators"]
    result = CliRunner().invoke(main, [*command, *told])
    assert result.exit_code == 0, result.output
    return place / "release"


def said(release: Path, language: str, text: str, sample: Path) -> str:
    """What a piece prints beside this picture or sound; nothing of it stays in the release."""
    before = files_below(release)
    text = text.replace(f"../{SAMPLES[sample.suffix]}", str(sample))
    told = [sys.executable, "-c", text]
    if language == "sh":
        text = text.replace("run .", f"run {release}")
        told = ["sh", "-c", text.replace("gemma-export", f"{sys.executable} -m exporter.cli")]
    where = Path.cwd() if language == "sh" else release
    done = subprocess.run(told, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert files_below(release) == before
    return done.stdout


def test_every_piece_of_code_about_pictures_runs_and_sees(release: Path, tmp_path: Path) -> None:
    for name, made in (("quadrants.png", quadrants()), ("noise.png", noise())):
        Image.fromarray(made).save(tmp_path / name)
    card = (release / "README.md").read_text(encoding="utf-8")
    section = card.partition("## Ask about a picture")[2].partition("\n## ")[0]
    pieces = PIECE.findall(section)
    assert [language for language, _ in pieces] == ["sh", "python"]
    for language, text in pieces:
        answers = [
            said(release, language, text, tmp_path / each) for each in ("quadrants.png", "noise.png")
        ]
        assert answers[0] != answers[1], text
