"""How much text codes want, and whose: error of linears' outputs on text that releases are judged on.

    python -m benchmarks.calibration_texts [--model REF] [--scheme int4-g32-zp] [--layers 1 8]
        [--tokens 6400 12800 25600] [--own FILE]

Some rows of some layers' linears, equalised as the int4 recipes do, get codes on the first --tokens of the
calibration text that ships, and on as much as --own has (written by `benchmarks.own_text`). Prints their
errors (`linear_errors`) over the beginning of each text of `samples/languages`, a mean over the layers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.linear_errors import ONE, Moments, SomeRows, kinds, moments
from benchmarks.one_variant import nothing
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_source
from exporter.planning.recipe import load_recipe
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.reference.calibration_text import SEQUENCE, calibration_text
from exporter.reference.domains import read_domains
from exporter.reference.texts import Texts
from exporter.resources import data_directory
from exporter.schemes import SCHEMES, IntegerScheme
from exporter.workshop import EQUALISED_ON


def main() -> None:
    options = _options()
    source, scheme = open_source(options.model), SCHEMES[options.scheme]
    assert isinstance(scheme, IntegerScheme)
    texts = Texts.of(source)
    shipped = calibration_text(source, texts)
    unseen = moments(source, judged_on(source, texts), options.layers)
    seen = {
        f"{tokens} tokens that ship": moments(source, shipped.first(tokens).sequences, options.layers)
        for tokens in options.tokens
    }
    if options.own is not None:
        own = calibration_text(source, texts, [options.own])
        seen[f"{own.tokens} tokens of its own"] = moments(source, own.sequences, options.layers)
    how = load_recipe("int4").equalization
    assert how is not None
    sizes = input_sizes(source, shipped.first(EQUALISED_ON).sequences, nothing)
    in_groups = frozenset() if scheme.group is None else unseen.keys()
    columns = equalize(source, sizes, how, in_groups=in_groups).columns
    by_kind = kinds(unseen)
    print(f"| {scheme.name} | {' | '.join(by_kind)} |\n|{'---|' * (len(by_kind) + 1)}")
    for text, found in seen.items():
        errors = [
            _mean(
                [SomeRows(source, name, options.rows, columns.get(name, ONE)) for name in names],
                found,
                unseen,
                scheme,
            )
            for names in by_kind.values()
        ]
        print(f"| {text} | {' | '.join(f'{each:.3e}' for each in errors)} |", flush=True)


def _mean(some: list[SomeRows], seen: Moments, unseen: Moments, scheme: IntegerScheme) -> float:
    return float(np.mean([each.error(scheme, seen, unseen) for each in some]))


def judged_on(source: CheckpointSource, texts: Texts) -> NDArray[np.int32]:
    """The first SEQUENCE tokens of each domain, [domains, SEQUENCE]."""
    domains = read_domains(data_directory("samples") / "languages", source, texts)
    return np.stack([domain.text.tokens[:SEQUENCE] for domain in domains]).astype(np.int32)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--scheme", default="int4-g32-zp")
    parser.add_argument("--layers", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", nargs="+", type=int, default=[6400, 12800, 25600])
    parser.add_argument("--own", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
