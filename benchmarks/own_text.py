"""Text that a model writes itself, to find its codes on in place of text from elsewhere.

    python -m benchmarks.own_text FILE [--model REF] [--sequences 56] [--seed 0]
    gemma-export quantize --recipe benchmarks/recipes/int4-zp-12800-tokens.toml --calibration FILE -o OWN
    gemma-export quantize --recipe benchmarks/recipes/int4-zp-12800-tokens.toml -o SHIPPED
    gemma-export compare SHIPPED OWN

The model begins with its beginning-of-text token alone and goes on by sampling from all that it gives a
probability, unsharpened, 256 tokens a sequence. Not about what is made of the text.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from benchmarks.whole_model import whole_model
from exporter.checkpoints.open import open_source
from exporter.reference.calibration_text import SEQUENCE
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--sequences", type=int, default=56)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = open_source(options.model)
    began = time.process_time()
    model = whole_model(OriginalWeights(source))
    torch.manual_seed(options.seed)
    begin = torch.full((options.sequences, 1), source.tokens.bos_token)
    with torch.inference_mode():
        found = model.generate(
            begin,
            attention_mask=torch.ones_like(begin),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            min_new_tokens=SEQUENCE - 1,
            max_new_tokens=SEQUENCE - 1,
        )
    tokenizer = Texts.of(source).tokenizer
    texts = [tokenizer.decode(each[1:], skip_special_tokens=True) for each in found.tolist()]
    options.file.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    print(f"{options.file}: {found.numel()} tokens, {time.process_time() - began:.0f} CPU s")


if __name__ == "__main__":
    main()
