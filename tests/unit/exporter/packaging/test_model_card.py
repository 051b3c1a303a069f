"""The card says what is in the release, how to run it, what was measured and what was left out."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard as HubCard
from huggingface_hub import ModelCardData

from exporter import __version__
from exporter.formats.family import Prompting
from exporter.packaging.card_inputs import CardImages, CardSounds
from exporter.packaging.licences import Licence, LicencePack
from exporter.packaging.measured import MeasuredFigure, MeasuredQuality
from exporter.packaging.model_card import ModelCard, render_model_card, write_model_card
from exporter.packaging.origin import ModelOrigin
from runtimes.images.processing import ImageProcessing
from runtimes.manifest import Artifact, EncoderArtifact
from tests.image_processing import patching, squashing
from tests.sound_processing import pieces, spectra

PROJECT = Path(__file__).parents[4] / "pyproject.toml"
ONNX = Artifact("text", "onnx", "onnx/model.onnx", 2048, 262144, 128, "last")
COREML = Artifact("text", "coreml", "coreml/model.mlpackage", 2048, 262144, 128, "all")
FIGURE = MeasuredFigure("onnx/model.onnx", "mean_kl_divergence", "mean KL divergence", 0.0042)
CARD = ModelCard(
    model="gemma-3-4b",
    model_type="gemma3_text",
    parameters=3_880_099_328,
    towers={},
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
    origin=ModelOrigin("google/gemma-3-4b-pt", "google/gemma-3-4b-pt", "quantized", ()),
    quality=MeasuredQuality("mean KL 0.0042", "some text", (FIGURE,), ("ar", "en")),
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


def as_the_hub_reads(card: ModelCard) -> ModelCardData:
    """Its front matter, by huggingface_hub, which raises for a model-index it cannot read."""
    found = HubCard(render_model_card(card, FILES), ignore_metadata_errors=False).data
    assert isinstance(found, ModelCardData)
    return found


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


def test_a_base_model_is_called_one_and_an_instruction_tuned_one_is_not() -> None:
    assert "This is a base model" in render_model_card(CARD, FILES)
    chat = render_model_card(replace(CARD, prompting=Prompting("<bos>", chat=True)), FILES)
    assert "base model" not in chat.replace("base_model", "")


def test_the_card_says_what_its_figures_are_against() -> None:
    own = render_model_card(replace(CARD, origin=replace(CARD.origin, itself=True)), FILES)
    assert "Figures are against `google/gemma-3-4b-pt` as it is published: " in own
    copy = render_model_card(CARD, FILES)
    assert "and not against `google/gemma-3-4b-pt` itself. " in copy
    unknown = replace(CARD, origin=ModelOrigin("gemma-mine", None, None, ()))
    assert "Figures are against the checkpoint this was made from: " in render_model_card(unknown, FILES)


def test_the_hubs_own_reader_finds_what_the_catalogue_is_told() -> None:
    told = as_the_hub_reads(CARD)
    assert (told.license, told.pipeline_tag, told.library_name) == ("gemma", "text-generation", "onnx")
    assert told.base_model == "google/gemma-3-4b-pt"
    assert vars(told)["base_model_relation"] == "quantized"
    assert told.language == ["ar", "en"]
    assert told.model_name == "google/gemma-3-4b-pt"
    (result,) = told.eval_results or []
    assert (result.task_type, result.dataset_name) == ("text-generation", "some text")
    assert (result.metric_type, result.metric_value) == ("mean_kl_divergence", 0.0042)
    assert result.metric_name == "mean KL divergence, onnx/model.onnx"


def test_languages_the_checkpoint_states_come_before_those_compared_in() -> None:
    stated = replace(CARD.origin, languages=("tr",))
    assert as_the_hub_reads(replace(CARD, origin=stated)).language == ["tr"]


def test_nothing_is_told_of_an_origin_or_of_figures_that_are_not_known() -> None:
    unknown = replace(
        CARD,
        origin=ModelOrigin("gemma-mine", None, None, ()),
        quality=MeasuredQuality("No logits were compared.", "some text", (), ()),
    )
    told = as_the_hub_reads(unknown)
    assert (told.base_model, told.language, told.eval_results) == (None, None, None)
    assert "base_model_relation" not in vars(told)


def test_packages_count_as_one_file_and_the_card_does_not_list_itself() -> None:
    rows = re.findall(r"^\| `(.*)` \| ([\d,.]+ [kM]B) \|$", render_model_card(CARD, FILES), re.MULTILINE)
    assert rows == [
        ("NOTICE", "1.0 kB"),
        ("coreml/model.mlpackage/", "4,000 MB"),
        ("coreml/tokenizer.json", "33 MB"),
        ("onnx/model.onnx", "250.0 kB"),
    ]


def test_a_release_that_sees_says_how_to_ask_about_a_picture() -> None:
    encoder = EncoderArtifact("vision", "onnx", "onnx/vision.onnx", "onnx/decoder.onnx", 256, 2560)
    shown = replace(CARD, images=CardImages((encoder,), squashing()), left_out=("audio tower",))
    text = render_model_card(shown, FILES)
    section = text.partition("## Ask about a picture")[2].partition("\n## ")[0]
    assert "at most 256 soft tokens" in section
    assert "pipeline_tag: image-text-to-text\n" in text
    assert "onnxruntime-genai opens `onnx/decoder.onnx` here" in section
    assert "`coreml/model.mlpackage` takes no images" in section
    assert 'gemma-export run . --image ../picture.png "What is in this picture?"' in section
    assert 'prompt = "<bos><start_of_image>What is in this picture?"' in section
    assert "model for text and images. Left out of the checkpoint: audio tower." in text
    assert "Ask about a picture" not in render_model_card(CARD, FILES)


def test_a_release_that_hears_says_how_to_ask_about_a_sound() -> None:
    encoder = EncoderArtifact("audio", "onnx", "onnx/speech.onnx", "onnx/decoder.onnx", 750, 1536)
    shown = replace(CARD, sounds=CardSounds((encoder,), spectra()), left_out=("vision tower",))
    text = render_model_card(shown, FILES)
    section = text.partition("## Ask about a sound")[2].partition("\n## ")[0]
    assert "sounds of at most 30 seconds. Each is at most 750 soft tokens" in section
    assert "`sound_processing.json`" in section
    assert "`coreml/model.mlpackage` takes no sounds" in section
    assert 'gemma-export run . --audio ../sound.wav "What is in this recording?"' in section
    assert 'given = processor(prompt, audios=og.Audios.open("../sound.wav"))' in section
    assert "pipeline_tag: audio-text-to-text\n" in text
    assert "model for text and sounds. Left out of the checkpoint: vision tower." in text
    assert "Ask about a sound" not in render_model_card(CARD, FILES)


@pytest.mark.parametrize("processing", [patching(merged=True), squashing(soft_tokens=4)])
def test_no_engine_is_named_that_cannot_prepare_a_picture(processing: ImageProcessing) -> None:
    encoder = EncoderArtifact("vision", "onnx", "onnx/vision.onnx", "onnx/decoder.onnx", 280, 3840)
    shown = replace(CARD, images=CardImages((encoder,), processing))
    section = render_model_card(shown, FILES).partition("## Ask about a picture")[2].partition("\n## ")[0]
    assert "onnxruntime_genai" not in section


def test_no_engine_is_named_that_cannot_prepare_a_sound() -> None:
    encoder = EncoderArtifact("audio", "onnx", "onnx/speech.onnx", "onnx/decoder.onnx", 750, 3840)
    shown = replace(CARD, sounds=CardSounds((encoder,), pieces()))
    section = render_model_card(shown, FILES).partition("## Ask about a sound")[2].partition("\n## ")[0]
    assert "onnxruntime_genai" not in section


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
    assert "| `onnx/model.onnx` | 200.0 kB |" in text
    assert write_model_card(tmp_path, CARD) == text


def test_a_card_of_what_sees_speaks_of_its_tower() -> None:
    towers = {"image tower": 416_866_032, "audio encoder": 305_000_000}
    text = render_model_card(replace(CARD, towers=towers), FILES)
    both = "and an image tower of 417 M parameters, and an audio encoder of 305 M parameters"
    assert f"{both}) with gemma-export" in text
    assert "image tower" not in render_model_card(CARD, FILES)


def test_the_card_says_where_the_tool_of_its_commands_is_from() -> None:
    text = render_model_card(CARD, FILES)
    assert f"`gemma-export` is the tool that made this release (version {__version__})" in text
    (asked,) = re.findall(r"`pip install '\.\[(.*)\]'`", text)
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert asked.split(",") == ["run", "run-onnx", "run-coreml"]
    assert set(asked.split(",")) <= extras.keys()


def test_a_tiny_model_and_its_tower_are_not_said_to_have_no_parameters() -> None:
    text = render_model_card(replace(CARD, parameters=91_392, towers={"image tower": 45_312}), FILES)
    assert "(`gemma3_text`, 91,392 parameters, and an image tower of 45,312 parameters)" in text


def test_a_tower_that_is_a_package_is_one_file_of_the_list() -> None:
    tower = "coreml/vision.mlpackage"
    encoder = EncoderArtifact("vision", "coreml", tower, "coreml/model.mlpackage", 256, 2560)
    card = replace(CARD, images=CardImages((encoder,), squashing()))
    text = render_model_card(
        card, {**FILES, f"{tower}/Data/weight.bin": 9_000, f"{tower}/Manifest.json": 600}
    )
    assert f"| `{tower}/` | 9.6 kB |" in text
    assert "vision.mlpackage/Data" not in text
