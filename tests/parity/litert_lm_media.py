"""Bundles whose text says which tokens it was, and LiteRT-LM's engine asked about images and sounds in it.

Not about what an answer is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from exporter.lowering.interface import LoweringOrder
from tests.fakes import silent
from tests.tiny import VOCABULARY
from tests.tiny_image_stores import GEMMA4_TOKENS, SOUND_TOKENS
from tests.unit.exporter.lowering.litert.seeing_releases import LOWERING, SeeingBundle

BOS = 2
NAMED: Mapping[int, str] = {**GEMMA4_TOKENS, **SOUND_TOKENS}
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>{% elif part['type'] == 'audio' %}<|audio|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
)
WORDS: Mapping[str, int] = {NAMED.get(token, f"w{token}"): token for token in range(VOCABULARY)}
Part = Sequence[int] | Mapping[str, Any]
"""Tokens of text, or an image or sound as LiteRT-LM takes it."""


def speaking(bundle: SeeingBundle, **changes: Any) -> LoweringOrder:
    """Lower it again with a word for each token. changes: to the order."""
    tokenizer = Tokenizer(models.WordLevel(dict(WORDS), unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in NAMED.values()])
    tokenizer.save(str(bundle.order.tokenizer / "tokenizer.json"))
    order = replace(bundle.order, chat_template=TEMPLATE, stop_tokens=(1,), **changes)
    LOWERING.lower(order, bundle.directory, silent)
    return order


def said_by_the_engine(
    bundle: SeeingBundle, prompts: Sequence[Sequence[Part]], count: int, cache: Path
) -> list[list[int]]:
    """Its greedy tokens for each prompt."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    cpu, found = litert_lm.Backend.CPU(thread_count=2), []
    backends = {"vision": {"vision_backend": cpu}, "audio": {"audio_backend": cpu}}
    given = {name: each for tower in bundle.encoders for name, each in backends[tower].items()}
    with litert_lm.Engine(str(bundle.path), backend=cpu, cache_dir=str(cache), **given) as engine:
        for prompt in prompts:
            greedy = litert_lm.SamplerConfig(top_k=1, temperature=0.0)
            with engine.create_conversation(sampler_config=greedy, max_output_tokens=count) as opened:
                content = [each if isinstance(each, Mapping) else _text(each) for each in prompt]
                answer = opened.send_message({"role": "user", "content": content})
            found.append([WORDS[word] for word in answer["content"][0]["text"].split()])
    return found


def _text(tokens: Sequence[int]) -> dict[str, str]:
    return {"type": "text", "text": " " + " ".join(f"w{token}" for token in tokens) + " "}
