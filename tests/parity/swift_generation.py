"""Greedy tokens as swift-transformers 1.3.3 generates them with what lies beside a Core ML package.

    Tokenizers (AutoTokenizer.from(modelFolder:)): tokenizer_config.json must name a class it knows;
    eos_token is a text, bare or in an object, whose id is looked up among tokenizer.json's added tokens,
    then in its vocabulary; chat_template.jinja stands before the config's chat_template.
    Generation (generate(config:prompt:model:tokenizer:)): the likeliest token is appended until it is that
    one id, or the context is full. No other stop token, and no generation_config.json, is read.

Swift itself runs on Apple's systems alone: the package is run by the MIL evaluator. Not about encoding text
and rendering templates, which transformers does here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from runtimes.mil.session import MilSession

KNOWN_CLASSES = {"GemmaTokenizer", "LlamaTokenizer", "PreTrainedTokenizer", "TokenizersBackend"}


def eos_token(directory: Path) -> int | None:
    """The one token generation ends at, None where the tokenizer names none it has."""
    config = _json(directory / "tokenizer_config.json")
    stated = config.get("eos_token")
    text = stated.get("content") if isinstance(stated, dict) else stated
    tokenizer = _json(directory / "tokenizer.json")
    added = {each["content"]: each["id"] for each in tokenizer["added_tokens"]}
    found: int | None = {**tokenizer["model"]["vocab"], **added}.get(text)
    return found


def answer(package: Path, question: str, most: int) -> list[int]:
    """Tokens behind the question's prompt, at most that many."""
    directory = package.parent
    assert (
        _json(directory / "tokenizer_config.json")["tokenizer_class"].replace("Fast", "") in KNOWN_CLASSES
    )
    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
    )
    end, tokens = eos_token(directory), list[int]()
    with MilSession.open(package) as session:
        logits = session.prefill(np.array(prompt, np.int32))[-1]
        while len(tokens) < most and (token := int(logits.argmax())) != end:
            tokens.append(token)
            logits = session.decode(token)
    return tokens


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
