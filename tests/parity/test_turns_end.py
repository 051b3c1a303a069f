"""Every runtime's engine stops after one turn of a tiny instruct model that is made to end it.

Matrix: the tiny model of each family, with its own template and nothing but config.json's eos stated x
onnxruntime-genai, LiteRT-LM, swift-transformers (`swift_generation`: what it does, not itself). A model
that is not stopped begins the same turn again. Not asserted: stops in the middle of a turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import litert_lm
import pytest
from transformers import AutoTokenizer

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.tokenizer.token_facts import read_token_facts
from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.lowering.interface import Lowering, LoweringOrder
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import INT8_CHANNEL
from tests.chat_templates import GEMMA_2, GEMMA_3, GEMMA_4
from tests.fakes import silent
from tests.parity.genai_generation import genai_tokens
from tests.parity.swift_generation import answer
from tests.speaking import make_speak
from tests.tiny import SPECIAL_TOKENS, TINY_CONFIGS, VOCABULARY, RandomSource, name_unused
from tests.tiny_releases import CHUNK, MADE_FROM, quantized_source

CONTEXT, MOST = 128, 12
QUESTION = "Hello"
FIRST_BYTE = len(SPECIAL_TOKENS)
NEWLINE, *HI = (FIRST_BYTE + ord(character) for character in "\nHi")  # a prompt ends with a line feed
TEMPLATES = {"Gemma 1": GEMMA_2, "Gemma 2": GEMMA_2, "Gemma 3": GEMMA_3, "VaultGemma": GEMMA_2}
END_OF_TURN, TURN_4 = 5, 301
TURNS_4 = {300: "<|turn>", TURN_4: "<turn|>"}
IDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


@dataclass(frozen=True)
class Instructed:
    """A model that answers "Hi", and its tokenizer's directory. end: the token it ends a turn with."""

    checkpoint: QuantizedCheckpoint
    tokenizer: Path
    template: str
    end: int

    def lower(self, lowering: Lowering, out: Path, *, template_ends: bool = True) -> Path:
        """The artifact. template_ends: whether what the template ends a turn with is listened to."""
        source = self.template if template_ends else None
        (self.tokenizer / "chat_template.jinja").unlink(missing_ok=True)
        if source is not None:
            (self.tokenizer / "chat_template.jinja").write_text(source, encoding="utf-8")
        facts = read_token_facts(CheckpointDirectory(self.tokenizer), IDS, VOCABULARY)
        order = LoweringOrder(
            checkpoint=self.checkpoint,
            context=CONTEXT,
            prefill_chunk=CHUNK,
            prefill_logits="last",
            tokenizer=self.tokenizer,
            bos_token=facts.bos_token,
            stop_tokens=facts.stop_tokens,
            chat_template=self.template,
            turn_end=facts.turn_end,
            made_from=MADE_FROM,
        )
        (artifact,) = lowering.lower(order, out, silent)
        return out / artifact.path


@pytest.fixture(scope="module", params=TINY_CONFIGS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Instructed:
    return instructed(request.param, tmp_path_factory.mktemp("model"))


def instructed(family: str, directory: Path) -> Instructed:
    template = TEMPLATES.get(family, GEMMA_4)
    end = TURN_4 if template == GEMMA_4 else END_OF_TURN
    source = RandomSource(TINY_CONFIGS[family]())
    make_speak(source, (NEWLINE, *HI, end))
    source.write_tokenizer(directory)
    name_unused(directory, TURNS_4 if template == GEMMA_4 else {})
    return Instructed(quantized_source(directory, source, INT8_CHANNEL), directory, template, end)


def genai_answer(path: Path) -> list[int]:
    prompt = AutoTokenizer.from_pretrained(str(path.parent)).apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, return_dict=False
    )
    return genai_tokens(path.parent, prompt, len(prompt) + MOST)


def litert_lm_answer(path: Path) -> list[int]:
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    backend = litert_lm.Backend.CPU(thread_count=2)
    greedy = litert_lm.SamplerConfig(top_k=1, temperature=0.0)
    with (
        litert_lm.Engine(str(path), backend=backend, cache_dir=str(path.parent)) as engine,
        engine.create_conversation(sampler_config=greedy, max_output_tokens=MOST) as conversation,
    ):
        return list(engine.tokenize(str(conversation.send_message(QUESTION))))


def swift_answer(path: Path) -> list[int]:
    return answer(path, QUESTION, MOST)


Answer = Callable[[Path], list[int]]
RUNTIMES: dict[str, tuple[Callable[[], Any], Answer]] = {
    "genai": (lambda: OnnxLowering(frozenset({"onnx"})), genai_answer),
    "LiteRT-LM": (lambda: LiteRtLowering(frozenset({"litertlm"})), litert_lm_answer),
    "swift-transformers": (CoreMlLowering, swift_answer),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_stops_after_one_turn(runtime: str, model: Instructed, tmp_path: Path) -> None:
    lowering, said = RUNTIMES[runtime]
    assert said(model.lower(lowering(), tmp_path)) == HI


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_without_the_templates_end_of_turn_it_plays_the_user_too(runtime: str, tmp_path: Path) -> None:
    lowering, said = RUNTIMES[runtime]
    model = instructed("Gemma 3", tmp_path)
    (out := tmp_path / "out").mkdir()
    found = said(model.lower(lowering(), out, template_ends=False))
    assert found[:6] == [*HI, model.end, NEWLINE, *HI]
