"""Tiny models of every family, in several schemes, on every execution path: docs/accelerators.md.

    python -m benchmarks.accelerators [--family NAME ...] [--scheme NAME ...] [--format NAME ...]

Prints a Markdown table, a row for each family and scheme of the linears, and below it why cells are empty.
A cell has mean KL and top-1 against the decoder in plain torch on dequantised weights, 24 positions past
the sliding window, and what the accelerator left over, or "all" where it took every operation.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.formats.execution_path import ExecutionPath, PathOrder
from exporter.formats.table import drivers_of, family_of, paths_of
from exporter.lowering.table import lowerings_for
from exporter.schemes import SCHEMES, Scheme
from runtimes.errors import RuntimesError
from runtimes.formats import FORMATS, Format
from runtimes.session import Logits
from tests.tiny import TINY_CONFIGS
from tests.tiny_releases import TinyRelease, eager_logits, mean_kl, quantized, some_tokens

TOKENS, PREFILLED = some_tokens(64), 40
LINEARS = ("int8-channel", "int4-channel", "int4-g32", "fp16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", nargs="+", choices=TINY_CONFIGS, default=list(TINY_CONFIGS))
    parser.add_argument("--scheme", nargs="+", choices=SCHEMES, default=list(LINEARS))
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=["litertlm", "onnx"])
    options = parser.parse_args()
    columns = [title for format in options.format for title in titles(format)]
    print(f"| Family | Linears | {' | '.join(columns)} |\n|{'---|' * (2 + len(columns))}", flush=True)
    reasons: dict[str, int] = {}
    for family in options.family:
        for scheme in options.scheme:
            cells = [
                shown(cell, reasons)
                for format in options.format
                for cell in measured(family, SCHEMES[scheme], format)
            ]
            print(f"| {' | '.join((family, scheme, *cells))} |", flush=True)
    for reason, number in reasons.items():
        print(f"\n({number}) {reason}")


def titles(format: Format) -> list[str]:
    """The columns of a format: its driver on the CPU, then its paths."""
    of_cpu = f"{family_of(format).title} on the CPU"
    return [of_cpu, *(path.title for path in paths_of(format))]


@dataclass(frozen=True)
class Cell:
    """figures: None where there are none; then `because` says why. left_over: as `PathAnswer` has it."""

    figures: tuple[float, float] | None
    left_over: tuple[str, ...] | None = None
    because: str = ""


def shown(cell: Cell, reasons: dict[str, int]) -> str:
    """A cell's text. What is too long for it becomes a number in `reasons`."""

    def note(words: str) -> str:
        return f"({reasons.setdefault(words, len(reasons) + 1)})"

    if cell.figures is None:
        return f"– {note(cell.because)}"
    kl, top1 = cell.figures
    text = f"{kl:.1e}, {100 * top1:.0f} %"
    if cell.left_over is None:
        return text
    left_over = note(f"left over: {', '.join(cell.left_over)}") if cell.left_over else "all"
    return f"{text}, {left_over}"


def measured(family: str, linears: Scheme, format: Format) -> Iterator[Cell]:
    """The cells of a format's columns."""
    with tempfile.TemporaryDirectory(prefix="accelerators-") as place:
        directory = Path(place)
        checkpoint = quantized(directory, TINY_CONFIGS[family](), linears)
        lowering = lowerings_for((format,))[family_of(format).name]
        release = TinyRelease.lower(directory, checkpoint, lowering)
        expected = eager_logits(checkpoint, TOKENS)[PREFILLED:]
        artifact = release.artifacts[format]
        with drivers_of(format)[0].open(release.directory, artifact) as session:
            session.prefill(TOKENS[:PREFILLED])
            logits = np.stack([session.decode(int(token)) for token in TOKENS[PREFILLED:]])
        yield Cell(figures(expected, logits))
        for path in paths_of(format):
            scratch = directory / path.name
            scratch.mkdir()
            order = PathOrder(release.directory, artifact, TOKENS, PREFILLED, scratch, path.seconds)
            yield executed(path, order, expected, linears)


def executed(path: ExecutionPath, order: PathOrder, expected: Logits, linears: Scheme) -> Cell:
    if linears.name in path.refused:
        return Cell(None, because=f"not executed: {path.why_refused}")
    if (reason := path.missing()) is not None:
        return Cell(None, because=f"not executed: {reason}")
    try:
        answer = path.run(order)
    except RuntimesError as error:
        return Cell(None, because=f"{type(error).__name__}: {error}")
    return Cell(figures(expected, answer.logits), answer.left_over)


def figures(expected: Logits, found: Logits) -> tuple[float, float]:
    return mean_kl(expected, found), float((expected.argmax(-1) == found.argmax(-1)).mean())


if __name__ == "__main__":
    main()
