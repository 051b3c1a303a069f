"""What the card of a release that sees says of asking about a picture, run as it stands.

Of a tiny Gemma 3 with as many soft tokens as onnxruntime-genai knows, and of a tiny Gemma 4 E2B, which
LiteRT-LM and transformers.js answer about. Asserted: no piece is left out; each says something else about
another picture. What they should say is asserted elsewhere (`test_onnx_genai_images`, `test_web_images`,
`test_litert_lm_images`).
"""

from __future__ import annotations

import os
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
from tests.web_engines import PACKAGES, require, write_npm

SAMPLES = {".png": "picture.png", ".wav": "sound.wav"}  # as a card calls them, by how they end
ROOT = str(Path(__file__).parents[2])
TOOLS = ("litert-lm run", "node ../ask/see.mjs")
PIECE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def released(place: Path, checkpoint: Path, *more: str) -> Path:
    command = ["--target", "desktop", "--model", str(checkpoint), "-o", str(place / "release"), *more]
    told = ["--recipe", "float", "--context", "352", "--validation-tokens", "40", "--no-accelerators"]
    quieten(checkpoint / "model.safetensors")
    result = CliRunner().invoke(main, [*command, *told])
    # Random weights are not what the limits of half precision were measured on.
    assert result.exit_code in (0, 1), result.output
    return place / ("release" if result.exit_code == 0 else "release.failed")


@pytest.fixture(scope="module")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("gemma3")
    return released(place, write_tiny_multimodal(place / "checkpoint", "Gemma 3", tiny_siglip(448, 256)))


@pytest.fixture(scope="module")
def e2b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("e2b")
    checkpoint = write_tiny_multimodal(place / "checkpoint", "Gemma 4 E2B")
    formats = ("--format", "litertlm", "--format", "onnx-web")
    return released(place, checkpoint, *formats, "--image-tokens", "70")


def said(release: Path, language: str, text: str, sample: Path) -> str:
    """What a piece prints beside this picture or sound; nothing of it stays in the release."""
    before = files_below(release)
    text = text.replace(f"../{SAMPLES[sample.suffix]}", str(sample))
    text = text.replace("pip install litert-lm\n", "")
    told = [sys.executable, "-c", text]
    environment = dict(os.environ)
    if language == "sh":
        ours = f"PYTHONPATH={ROOT} {sys.executable} -m exporter.cli"
        told = ["sh", "-e", "-c", text.replace("gemma-export", ours)]
        npm = release.parent / "bin" / "npm"
        if not npm.exists():
            write_npm(npm.parent, PACKAGES)
        places = (str(npm.parent), str(Path(sys.executable).parent), environment["PATH"])
        environment["PATH"] = os.pathsep.join(places)
    done = subprocess.run(
        told, cwd=release, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert files_below(release) == before
    return done.stdout


def pieces(release: Path) -> list[tuple[str, str]]:
    card = (release / "README.md").read_text(encoding="utf-8")
    return PIECE.findall(card.partition("## Ask about a picture")[2].partition("\n## ")[0])


def require_seen(release: Path, tmp_path: Path, chosen: list[tuple[str, str]]) -> None:
    """Each piece says something else about another picture."""
    for name, made in (("quadrants.png", quadrants()), ("noise.png", noise())):
        Image.fromarray(made).save(tmp_path / name)
    for language, text in chosen:
        answers = [
            said(release, language, text, tmp_path / each) for each in ("quadrants.png", "noise.png")
        ]
        assert answers[0] != answers[1], text


def test_the_command_and_genais_lines_run_and_see(gemma3: Path, tmp_path: Path) -> None:
    found = pieces(gemma3)
    assert [language for language, _ in found] == ["sh", "python"]
    require_seen(gemma3, tmp_path, found)


def test_litert_lms_command_and_transformers_js_lines_run_and_see(e2b: Path, tmp_path: Path) -> None:
    require("node")
    found = pieces(e2b)
    ours, theirs = found[::2], found[1::2]
    assert all("gemma-export run . --format" in text for _, text in ours)
    assert [next(word for word in TOOLS if word in text) for _, text in theirs] == list(TOOLS)
    require_seen(e2b, tmp_path, theirs)
