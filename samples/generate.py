"""Continue a prompt with an artifact of a release, greedily, through our driver.

    python samples/generate.py RELEASE "The capital of France is" [--format onnx] [--tokens 32]

Needs the light install with one runtime, and `tokenizers`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from runtimes.formats import FORMATS
from runtimes.manifest import read_manifest
from runtimes.open import open_session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("prompt")
    parser.add_argument("--format", choices=FORMATS)
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()

    decoders = [each for each in read_manifest(options.release).artifacts if each.component == "text"]
    artifact = next(each for each in decoders if options.format in (None, each.format))
    tokenizer = Tokenizer.from_file(str(options.release / "tokenizer.json"))
    *prompt, last = tokenizer.encode(options.prompt).ids
    with open_session(options.release, artifact) as session:
        if prompt:
            session.prefill(np.array(prompt, np.int32))
        logits = session.decode(last)
        generated: list[int] = []
        for _ in range(options.tokens):
            generated.append(int(logits.argmax()))
            logits = session.decode(generated[-1])
    print(options.prompt + tokenizer.decode(generated))


if __name__ == "__main__":
    main()
