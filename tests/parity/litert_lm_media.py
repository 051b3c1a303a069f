"""Bundles whose text says which tokens it was, and LiteRT-LM's engine asked about images and sounds in it.

Not about what an answer is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from exporter.lowering.interface import LoweringOrder
from tests.fakes import silent
from tests.tiny import VOCABULARY
from tests.tiny_image_stores import GEMMA3_TOKENS, GEMMA4_TOKENS, SOUND_TOKENS
from tests.unit.exporter.lowering.litert.seeing_releases import LOWERING, SeeingBundle

BOS, LINE_BREAKS = 2, 108
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}PLACEHOLDER{% elif part['type'] == 'audio' %}<|audio|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
)
Part = Sequence[int] | Mapping[str, Any]
"""Tokens of text, or an image or sound as LiteRT-LM takes it."""


@dataclass(frozen=True)
class Language:
    """A word for each token. named: of those that are no `w<token>`. placeholder: a template's, of an
    image."""

    named: Mapping[int, str]
    placeholder: str

    @cached_property
    def words(self) -> dict[str, int]:
        return {self.named.get(token, f"w{token}"): token for token in range(VOCABULARY)}

    @property
    def template(self) -> str:
        return TEMPLATE.replace("PLACEHOLDER", self.placeholder)


GEMMA4 = Language({**GEMMA4_TOKENS, **SOUND_TOKENS}, "<|image|>")
# Around a Gemma 3's image the engine puts line breaks, as transformers' processor does.
GEMMA3 = Language({**GEMMA3_TOKENS, LINE_BREAKS: "\n\n"}, "<start_of_image>")


def language_of(bundle: SeeingBundle) -> Language:
    return GEMMA3 if bundle.kind == "Gemma 3" else GEMMA4


def speaking(bundle: SeeingBundle, **changes: Any) -> LoweringOrder:
    """Lower it again with a word for each token. changes: to the order."""
    spoken = language_of(bundle)
    tokenizer = Tokenizer(models.WordLevel(dict(spoken.words), unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in spoken.named.values()])
    tokenizer.save(str(bundle.order.tokenizer / "tokenizer.json"))
    order = replace(bundle.order, chat_template=spoken.template, stop_tokens=(1,), **changes)
    LOWERING.lower(order, bundle.directory, silent)
    return order


def said_by_the_engine(
    bundle: SeeingBundle, prompts: Sequence[Sequence[Part]], count: int, cache: Path
) -> list[list[int]]:
    """Its greedy tokens for each prompt."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    cpu, found, words = litert_lm.Backend.CPU(thread_count=2), [], language_of(bundle).words
    backends = {"vision": {"vision_backend": cpu}, "audio": {"audio_backend": cpu}}
    given = {name: each for tower in bundle.encoders for name, each in backends[tower].items()}
    with litert_lm.Engine(str(bundle.path), backend=cpu, cache_dir=str(cache), **given) as engine:
        for prompt in prompts:
            greedy = litert_lm.SamplerConfig(top_k=1, temperature=0.0)
            with engine.create_conversation(sampler_config=greedy, max_output_tokens=count) as opened:
                content = [each if isinstance(each, Mapping) else _text(each) for each in prompt]
                answer = opened.send_message({"role": "user", "content": content})
            found.append([words[word] for word in answer["content"][0]["text"].split()])
    return found


def _text(tokens: Sequence[int]) -> dict[str, str]:
    return {"type": "text", "text": " " + " ".join(f"w{token}" for token in tokens) + " "}
