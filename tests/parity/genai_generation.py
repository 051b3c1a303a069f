"""Greedy continuations of a prompt: onnxruntime-genai's and our driver's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtimes.onnx.session import OnnxSession


def genai_tokens(directory: Path, prompt: list[int], max_length: int) -> list[int]:
    """What genai's Generator appends to the prompt until a stop token or `max_length` in all."""
    import onnxruntime_genai as genai

    config = genai.Config(str(directory))
    config.overlay('{"model": {"decoder": {"session_options": {"intra_op_num_threads": 2}}}}')
    model = genai.Model(config)
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=max_length, do_sample=False)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(np.array(prompt, np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)[len(prompt) :]]


def driver_tokens(path: Path, prompt: list[int], count: int) -> list[int]:
    """The driver's most likely tokens, one after the other."""
    with OnnxSession(path, threads=2) as session:
        logits = session.prefill(np.array(prompt, np.int32))[-1]
        tokens: list[int] = []
        while len(tokens) < count:
            tokens.append(int(logits.argmax()))
            if len(tokens) < count:
                logits = session.decode(tokens[-1])
    return tokens
