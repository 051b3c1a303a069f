"""What equalising columns is worth: quantisation alone, with and without it, transformers both times.

    python -m benchmarks.equalization [--model REF] [--recipe int8] [--text DIR]

Prints mean KL and top-1 of transformers on the quantised against the original checkpoint: of the recipe and
of the recipe without its [equalization], each also with only the embedding or only the linears quantised.
--text: a directory of .txt files instead of samples/evaluation.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.one_variant import nothing
from exporter.checkpoints.open import open_source
from exporter.models.text.spec import Role
from exporter.planning.recipe import load_recipe
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.reference.calibration_text import calibration_text
from exporter.reference.streamed import reference_logits
from exporter.reference.texts import Texts, read_text
from exporter.reference.weights import OriginalWeights
from exporter.resources import data_directory
from exporter.schemes import FP32
from exporter.validation.baselines import compare_files
from exporter.workshop import EQUALISED_ON


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--recipe", default="int8")
    parser.add_argument("--text", type=Path, default=data_directory("samples") / "evaluation")
    options = parser.parse_args()
    source, recipe = open_source(options.model), load_recipe(options.recipe)
    schemes = recipe.schemes(source.components["text"].spec)
    roles = {weight.name: weight.role for weight in source.components["text"].weights}
    linears = {name: s if roles[name] is Role.LINEAR else FP32 for name, s in schemes.items()}
    embedding = {name: FP32 if roles[name] is Role.LINEAR else s for name, s in schemes.items()}
    equalised = recipe.equalization
    cases = {
        f"{recipe.name}": (equalised, schemes),
        "  embedding only": (equalised, embedding),
        "  linears only": (equalised, linears),
        "without equalisation": (None, schemes),
        "  embedding only, without": (None, embedding),
        "  linears only, without": (None, linears),
    }
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        texts = Texts.of(source)
        text = read_text(options.text, texts.tokenizer, texts.bos_token)
        seen = input_sizes(source, calibration_text(source, texts).first(EQUALISED_ON).sequences, nothing)
        original = reference_logits(
            OriginalWeights(source), text.tokens[:-1], scratch / "original", nothing
        )
        for label, (how, chosen) in cases.items():
            weights = source if how is None else equalize(source, seen, how)
            checkpoint = write_quantized(weights, chosen, scratch / "quantized", nothing)
            logits = reference_logits(
                UnpackedWeights(checkpoint), text.tokens[:-1], scratch / "logits", nothing
            )
            found = compare_files(original, logits, text.tokens, nothing).statistics()
            print(f"{label:28} KL {found.mean_kl:.5f}  top-1 {found.top1:.2%}", flush=True)


if __name__ == "__main__":
    main()
