"""What `auto_rounding` runs in auto-round's own environment: a checkpoint in, its rounded weights out.

    python auto_round_session.py CHECKPOINT TOKENS.npy OUT ITERATIONS {symmetric|zero-points}

Imports nothing of this project. OUT gets a Hugging Face directory in float32, each linear as its codes,
scales and zero points give it back; the embedding, which is the head, is not touched.
"""

import sys

import numpy as np
import torch
from auto_round import AutoRound
from transformers import AutoModelForCausalLM, AutoTokenizer

GROUP = 32


def main() -> None:
    checkpoint, tokens, out, iterations, kind = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(checkpoint, torch_dtype=torch.float32)
    text = torch.from_numpy(np.load(tokens)).long()  # [sequences, tokens]
    rounding = AutoRound(
        model,
        AutoTokenizer.from_pretrained(checkpoint),
        bits=4,
        group_size=GROUP,
        sym=kind == "symmetric",
        dataset=[{"input_ids": each[None]} for each in text],
        iters=int(iterations),
        nsamples=len(text),
        seqlen=text.shape[1],
        batch_size=8,
        device_map="cpu",
        enable_torch_compile=False,
        amp=False,
    )
    rounding.quantize_and_save(out, format="fake")


if __name__ == "__main__":
    main()
