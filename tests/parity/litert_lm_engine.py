"""Greedy tokens of LiteRT-LM's engine, and of our driver on the same bundle.

Not about what is compared, nor with which prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtimes.litert.session import LiteRtSession


def greedy_tokens(bundle: Path, prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The driver's most likely tokens behind each prompt, one after the other."""
    found = []
    with LiteRtSession.open(bundle) as session:
        for prompt in prompts:
            session.reset()
            session.prefill(np.array(prompt[:-1], np.int32))
            tokens = [prompt[-1]]
            for _ in range(count):
                tokens.append(int(session.decode(tokens[-1]).argmax()))
            found.append(tokens[1:])
    return found


def engine_pieces(bundle: Path, prompts: Sequence[str], count: int, cache: Path) -> list[list[str]]:
    """The engine's greedy continuation of each prompt, a piece of text per token."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    found = []
    with litert_lm.Engine(
        str(bundle), backend=litert_lm.Backend.CPU(thread_count=2), cache_dir=str(cache)
    ) as engine:
        greedy = litert_lm.SamplerConfig(top_k=1, temperature=0.0)
        for prompt in prompts:
            with engine.create_session(
                apply_prompt_template=False, sampler_config=greedy, max_output_tokens=count
            ) as session:
                session.run_prefill([prompt])
                found.append([piece for each in session.run_decode_async() for piece in each.texts])
    return found
