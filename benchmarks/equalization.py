"""What equalising columns is worth, by kind of linear: error of its outputs on text no code was found on.

    python -m benchmarks.equalization [--model REF] [--scheme int8-channel] [--layers 1 8 15] [--rows 64]
                                      [--damping 0.01]

Some rows of some layers' linears get codes by error feedback on --tokens of calibration text: as they are,
with columns equalised by the two exponents of the int8 recipe, and with fitted ones. Prints their errors
(`linear_errors`) over --unseen tokens after those, a mean over the layers; the last column is what fitting
leaves of the exponents' error. Not about what that does to logits (`quality`).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.linear_errors import ONE, SomeRows, kinds, moments
from benchmarks.one_variant import nothing
from exporter.checkpoints.open import open_source
from exporter.planning.recipe import load_recipe
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.reference.calibration_text import calibration_text
from exporter.reference.texts import Texts
from exporter.schemes import SCHEMES, IntegerScheme
from exporter.workshop import EQUALISED_ON


def main() -> None:
    options = _options()
    source, scheme = open_source(options.model), SCHEMES[options.scheme]
    assert isinstance(scheme, IntegerScheme)
    text = calibration_text(source, Texts.of(source)).first(options.tokens + options.unseen).sequences
    count = options.tokens // text.shape[1]
    seen = moments(source, text[:count], options.layers)
    unseen = moments(source, text[count:], options.layers)
    how = load_recipe("int8").equalization
    assert how is not None
    sizes = input_sizes(source, text[: EQUALISED_ON // text.shape[1]], nothing)
    columns: dict[str, Mapping[str, NDArray[np.float32]]] = {
        "as it is": {},
        "exponents": equalize(source, sizes, how).columns,
        "fitted": equalize(source, sizes, how, by_row=seen.keys()).columns,
    }
    print(f"| {scheme.name} | {' | '.join(columns)} | fitted / exponents |\n|---|---|---|---|---|")
    for kind, names in kinds(seen).items():
        errors = []
        for by in columns.values():
            some = [
                SomeRows(source, name, options.rows, by.get(name, ONE), options.damping) for name in names
            ]
            errors.append(np.mean([each.error(scheme, seen, unseen) for each in some]))
        cells = " | ".join(f"{each:.2e}" for each in errors)
        print(f"| {kind} | {cells} | {errors[2] / errors[1]:.2f} |", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--scheme", default="int8-channel")
    parser.add_argument("--layers", nargs="+", type=int, default=[1, 8, 15])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--unseen", type=int, default=4096)
    parser.add_argument("--damping", type=float, help="of error feedback")
    return parser.parse_args()


if __name__ == "__main__":
    main()
