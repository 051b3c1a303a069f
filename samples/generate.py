"""Continue a prompt with an artifact of a release, greedily, through our driver.

    python samples/generate.py RELEASE "The capital of France is" [--format onnx] [--tokens 32]

Where the context ends before that, the text so far is printed. Needs the light install with one runtime,
and `tokenizers`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from runtimes.errors import RuntimesError
from runtimes.formats import FORMATS
from runtimes.manifest import read_manifest
from runtimes.open import open_session
from runtimes.session import Session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("prompt")
    parser.add_argument("--format", choices=FORMATS)
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()
    try:
        decoders = [each for each in read_manifest(options.release).artifacts if each.component == "text"]
        artifact = next((each for each in decoders if options.format in (None, each.format)), None)
        if artifact is None:
            parser.error(f"the release has no decoder in the format {options.format}")
        tokenizer = Tokenizer.from_file(str(options.release / "tokenizer.json"))
        if not (prompt := tokenizer.encode(options.prompt).ids):
            parser.error("the prompt has no tokens")
        with open_session(options.release, artifact) as session:
            generated = continued(session, prompt, options.tokens)
            ended = len(generated) < options.tokens
    except RuntimesError as error:
        sys.exit(f"error: {error}")
    print(options.prompt + tokenizer.decode(generated))
    if ended:
        print(f"The context of {session.facts.context} tokens ended here.", file=sys.stderr)


def continued(session: Session, prompt: list[int], count: int) -> list[int]:
    """`count` tokens after a prompt, fewer where the context ends."""
    if len(prompt) > 1:
        session.prefill(np.array(prompt[:-1], np.int32))
    tokens = list(prompt)
    for _ in range(min(count, session.facts.context - session.position)):
        tokens.append(int(session.decode(tokens[-1]).argmax()))
    return tokens[len(prompt) :]


if __name__ == "__main__":
    main()
