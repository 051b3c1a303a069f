"""What quantisation costs a model, ours beside others', at equal bytes and on equal weights.

    python -m benchmarks.quality [--model REF] [--recipe NAME ...] [--mix NAME ...] [--vendor NAME ...]
        [--checkpoint DIR ...] [--importance with|without|both] [--weights COPY ...] [--json FILE]
        [--at-once 3]

Every subject's logits are held against the original's, both in float32 by transformers, on all of
`samples/languages` (ten languages, code, chat): 10.5 thousand positions, each text behind its beginning.
Prints a table of all rows and one by domain; standard errors are those of blocks of 32 neighbouring
positions. --json keeps rows, so that a later run measures only what is missing. --at-once: subjects that
share one pass of the original, 250 MB of memory each. What subjects are is `quality_subjects`'s to say.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.ggml_mixes import MIXES
from benchmarks.one_variant import nothing
from benchmarks.quality_rows import Measured, Row, read_measured, table, table_of_domains, write_measured
from benchmarks.quality_subjects import COPIES, Makers, Subject, of_checkpoint, of_mix, of_recipe, of_vendor
from benchmarks.vendor_quantizers import VENDORS
from exporter.checkpoints.open import open_source
from exporter.evaluation.figures import figures
from exporter.evaluation.side_by_side import compare_weights
from exporter.reference.domains import Domain, read_domains
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights
from exporter.resources import data_directory

IMPORTANCE = {"without": (False,), "with": (True,), "both": (False, True)}


def main() -> None:
    options = _options()
    source = open_source(options.model)
    texts = Texts.of(source)
    domains = read_domains(data_directory("samples") / "languages", source, texts)
    digest = hashlib.sha256("".join(domain.text.sha256 for domain in domains).encode()).hexdigest()
    tokens = sum(len(domain.text.tokens) for domain in domains)
    measured = Measured(digest, tokens, ())
    if options.json is not None:
        measured = read_measured(options.json, digest, tokens)
    there = {row.key for row in measured.rows}
    missing = [subject for subject in _subjects(options) if subject.key not in there]
    makers = Makers(source, texts)
    for start in range(0, len(missing), options.at_once):
        found = _rows(makers, missing[start : start + options.at_once], domains)
        measured = replace(measured, rows=(*measured.rows, *found))
        if options.json is not None:
            write_measured(options.json, measured)
    print(f"{tokens} tokens of {', '.join(domain.name for domain in domains)}; SHA-256 {digest[:16]}…\n")
    for domain in domains:
        if domain.remark is not None:
            print(f"{domain.name}: {domain.remark}\n")
    print(table(measured.rows), "\n")
    print(table_of_domains(measured.rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--recipe", nargs="*", default=["int8", "int4"], help="names or .toml files")
    parser.add_argument("--mix", nargs="*", default=list(MIXES), choices=list(MIXES))
    parser.add_argument("--vendor", nargs="*", default=list(VENDORS), choices=list(VENDORS))
    parser.add_argument("--checkpoint", nargs="*", default=[], type=Path, help="made by `auto_rounding`")
    parser.add_argument("--importance", choices=list(IMPORTANCE), default="both")
    parser.add_argument(
        "--weights", nargs="*", default=["original", "off-grid", "equalised"], choices=COPIES
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--at-once", type=int, default=3)
    return parser.parse_args()


def _subjects(options: argparse.Namespace) -> Iterator[Subject]:
    yield from map(of_checkpoint, options.checkpoint)
    for weights in options.weights:
        if weights != "equalised":
            yield from (of_recipe(recipe, weights) for recipe in options.recipe)
        yield from (of_vendor(vendor, weights) for vendor in options.vendor)
        for mix in options.mix:
            for important in IMPORTANCE[options.importance]:
                if not (important and mix == "Q8_0"):  # whose quantiser does not look at it
                    yield of_mix(mix, important, weights)


def _rows(makers: Makers, subjects: Sequence[Subject], domains: Sequence[Domain]) -> list[Row]:
    began = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        made = []
        for number, subject in enumerate(subjects):
            scratch = Path(place, str(number))
            scratch.mkdir()
            made.append(makers.make(subject, scratch))
        quantised = time.process_time()
        compared = compare_weights(
            OriginalWeights(makers.source),
            [each.weights for each in made],
            [domain.text for domain in domains],
            nothing,
        )
    rows = []
    for subject, each, found in zip(subjects, made, compared, strict=True):
        nbytes, bits = each.bytes_and_linear_bits(makers.source)
        by_domain = {name: figures({name: agreement}) for name, agreement in found.items()}
        rows.append(Row(subject.name, subject.weights, nbytes, bits, figures(found), by_domain))
        mean = rows[-1].overall.statistics.mean_kl
        print(f"{subject.name}, {subject.weights}: mean KL {mean:.4f}", file=sys.stderr, flush=True)
    took = time.process_time() - quantised
    print(f"CPU seconds: {quantised - began:.0f} to quantise, {took:.0f} to compare", file=sys.stderr)
    return rows


if __name__ == "__main__":
    main()
