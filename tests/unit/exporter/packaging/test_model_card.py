"""The card says what is in the release, how to run it, what was measured and what was left out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from exporter.formats.family import Prompting
from exporter.packaging.licences import Licence, LicencePack
from exporter.packaging.model_card import ModelCard, render_model_card, write_model_card
from runtimes.manifest import Artifact

ONNX = Artifact("text", "onnx", "onnx/model.onnx", 2048, 262144, 128, "last")
COREML = Artifact("text", "coreml", "coreml/model.mlpackage", 2048, 262144, 128, "all")
CARD = ModelCard(
    model="gemma-3-4b",
    model_type="gemma3_text",
    parameters=3_880_099_328,
    source_digests={"model.safetensors": "ab" * 32},
    recipe="int8",
    target="macos",
    context=2048,
    scheme_counts={"int8-channel": 127, "fp16": 1},
    left_out=("vision tower, 417 M parameters", "projector"),
    remarks=("The vocabulary has 520 entries, 8 of them the adapter's.",),
    artifacts=(ONNX, COREML),
    rings=frozenset(),
    prompting=Prompting("<bos>", chat=False),
    quality="mean KL 0.0042",
    licence=LicencePack(Licence.GEMMA, ("NOTICE",), None, ("The text of the terms was not there.",)),
)
FILES = {
    "NOTICE": 1_000,
    "README.md": 1,
    "coreml/model.mlpackage/Data/weight.bin": 4_000_000_000,
    "coreml/model.mlpackage/Manifest.json": 600,
    "coreml/tokenizer.json": 33_000_000,
    "onnx/model.onnx": 250_000,
}


def test_the_card_says_what_a_user_must_know() -> None:
    text = render_model_card(CARD, FILES)
    for words in (
        "license: gemma\n",
        "gemma-3-4b",
        "`int8`",
        "127 × `int8-channel`",
        "2048 tokens",
        "Left out of the checkpoint: vision tower, 417 M parameters; projector.",
        "The vocabulary has 520 entries, 8 of them the adapter's.",
        "mean KL 0.0042",
        "ab" * 32,
        "Gemma Terms of Use",
        "The text of the terms was not there.",
        "sha256sum -c SHA256SUMS",
    ):
        assert words in text


def test_packages_count_as_one_file_and_the_card_does_not_list_itself() -> None:
    rows = re.findall(r"^\| `(.*)` \| ([\d,.]+ [kM]B) \|$", render_model_card(CARD, FILES), re.MULTILINE)
    assert rows == [
        ("NOTICE", "1.0 kB"),
        ("coreml/model.mlpackage/", "4,000.0 MB"),
        ("coreml/tokenizer.json", "33.0 MB"),
        ("onnx/model.onnx", "0.2 MB"),
    ]


def test_nothing_is_said_to_be_left_out_where_nothing_was() -> None:
    assert "Left out" not in render_model_card(replace(CARD, left_out=()), FILES)


def test_how_far_a_session_may_be_set_back_is_said_where_caches_forget() -> None:
    bundle = replace(ONNX, format="litertlm", path="model.litertlm")
    card = replace(CARD, artifacts=(ONNX, bundle), rings=frozenset({"litertlm"}))
    (before, after) = render_model_card(card, FILES).split("at most\n2 tokens")
    assert before.count("## Run") == 2, "in the bundle's own section"
    assert "## Run" not in after
    assert "tokens (LiteRT-LM" not in render_model_card(replace(card, rings=frozenset()), FILES)


def test_the_card_is_written_from_what_the_release_holds_and_does_not_change(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(b"x" * 200_000)
    text = write_model_card(tmp_path, CARD)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
    assert "| `onnx/model.onnx` | 0.2 MB |" in text
    assert write_model_card(tmp_path, CARD) == text
