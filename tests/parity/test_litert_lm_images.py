"""LiteRT-LM's own engine answering from a PNG, against our driver on the same bundle and transformers.

Matrix: a tiny Gemma 4 E2B in fp32; a picture of 480 x 336, which 70 soft tokens hold unscaled; prompts
longer than a prefill chunk. Among what is asserted is that the token behind an image has its own row of the
per-layer table, which the engine does not look up. Not asserted: pictures that are scaled, and models whose
images see each other both ways (docs/adr/0034).
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from exporter.lowering.interface import ImageOrder
from exporter.reference.merged_logits import AskedPrompt, merged_decisions
from runtimes.images.preparing import prepared_image
from runtimes.litert.image_encoder import LiteRtImageEncoder
from runtimes.multimodal.session import PlacedRows
from tests.fakes import silent
from tests.seen_pictures import processing_of
from tests.tiny import VOCABULARY
from tests.tiny_image_stores import GEMMA4_TOKENS
from tests.tiny_towers import BEGIN, END, SOFT
from tests.unit.exporter.lowering.litert.seeing_releases import LOWERING, SeeingBundle, seeing_bundle

BUDGET, COUNT, BOS = 70, 8, 2
PROMPTS = (([40, 41, 42, 43, 44], [50, 51, 52]), (list(range(60, 81)), [90, 91]))
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> SeeingBundle:
    """Text says which tokens it was: a word for each."""
    directory = tmp_path_factory.mktemp("engine")
    made = seeing_bundle(directory, "Gemma 4 E2B", "fp32")
    words = {GEMMA4_TOKENS.get(token, f"w{token}"): token for token in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in GEMMA4_TOKENS.values()])
    tokenizer.save(str(made.order.tokenizer / "tokenizer.json"))
    images = ImageOrder(processing_of(made.spec, BUDGET))
    order = replace(made.order, images=images, chat_template=TEMPLATE, stop_tokens=(1,))
    LOWERING.lower(order, made.directory, silent)
    return made


def ramp() -> NDArray[np.uint8]:
    y, x = np.mgrid[:336, :480]
    return np.stack([x * 255 // 480, y * 255 // 336, (x + y) % 256], -1).astype(np.uint8)


def said_by_the_engine(bundle: SeeingBundle, cache: Path) -> list[list[int]]:
    """Its greedy tokens for each prompt."""
    import litert_lm
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(ramp()).save(png, "PNG")
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    cpu, found = litert_lm.Backend.CPU(thread_count=2), []
    with litert_lm.Engine(
        str(bundle.path), backend=cpu, vision_backend=cpu, cache_dir=str(cache)
    ) as engine:
        for before, behind in PROMPTS:
            greedy = litert_lm.SamplerConfig(top_k=1, temperature=0.0)
            with engine.create_conversation(sampler_config=greedy, max_output_tokens=COUNT) as opened:
                answer = opened.send_message(
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": spoken(before) + " "},
                            litert_lm.Content.ImageBytes(png.getvalue()).to_json(),
                            {"type": "text", "text": " " + spoken(behind)},
                        ],
                    }
                )
            found.append([int(word.removeprefix("w")) for word in answer["content"][0]["text"].split()])
    return found


def spoken(tokens: list[int]) -> str:
    return " ".join(f"w{token}" for token in tokens)


def test_the_engine_answers_as_transformers_does(bundle: SeeingBundle, tmp_path: Path) -> None:
    with LiteRtImageEncoder.open(bundle.path) as encoder:
        rows = encoder.rows(prepared_image(ramp(), processing_of(bundle.spec, BUDGET)))
    assert len(rows) == BUDGET
    blind_agrees = []
    for said, (before, behind) in zip(said_by_the_engine(bundle, tmp_path), PROMPTS, strict=True):
        prompt = [BOS, *before, BEGIN, *[SOFT] * BUDGET, END, *behind]
        tokens = np.array(prompt + said[:-1], np.int32)
        at = np.arange(len(prompt) - 1, len(tokens))
        seeing, blind = (
            AskedPrompt(tokens, (PlacedRows(len(before) + 2, each),), at) for each in (rows, rows * 0)
        )
        expected, unseen = merged_decisions(bundle.weights, [seeing, blind], silent)
        assert said == expected.choices.tolist()
        blind_agrees.append(said == unseen.choices.tolist())
    assert not any(blind_agrees), "a picture that changes nothing proves nothing"
