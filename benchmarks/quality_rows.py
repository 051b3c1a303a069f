"""What `quality` measured, kept as JSON from run to run, and its two tables.

Rows of another evaluation text are refused rather than mixed in. Not about measuring.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.evaluation.figures import Figures
from runtimes.records import from_plain, to_plain
from runtimes.strict_json import read_json_object


@dataclass(frozen=True)
class Row:
    """subject: recipe or mix. weights: which function-preserving copy it was made of. nbytes: of every
    tensor. linear_bits: of a weight in a linear, scales and zero points included. overall: of all domains
    together. domains: by their names."""

    subject: str
    weights: str
    nbytes: int
    linear_bits: float
    overall: Figures
    domains: dict[str, Figures]

    @property
    def key(self) -> tuple[str, str]:
        return self.subject, self.weights

    @property
    def worst(self) -> str:
        """The domain of the largest mean KL."""
        return max(self.domains, key=lambda name: self.domains[name].statistics.mean_kl)


@dataclass(frozen=True)
class Measured:
    """text_sha256: of the evaluation tokens. tokens: of them, the first of each sequence included."""

    text_sha256: str
    tokens: int
    rows: tuple[Row, ...]


def read_measured(path: Path, text_sha256: str, tokens: int) -> Measured:
    """What a file has, nothing where there is none. Exits where it was measured on another text."""
    if not path.exists():
        return Measured(text_sha256, tokens, ())
    found = from_plain(Measured, read_json_object(path))
    if found.text_sha256 != text_sha256:
        raise SystemExit(f"{path}: measured on another evaluation text; name another --json, or delete it")
    return found


def write_measured(path: Path, measured: Measured) -> None:
    path.write_text(json.dumps(to_plain(measured), indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """A row a subject, by weights and then by size."""
    lines = [
        "| subject | weights | MB | bits, linears | mean KL | median | 99 % | max | top-1 "
        "| perplexity ratio | worst domain |",
        "|" + "---|" * 11,
    ]
    for row in sorted(rows, key=lambda row: (row.weights, row.nbytes, row.subject)):
        numbers, errors = row.overall.statistics, row.overall.errors
        lines.append(
            f"| {row.subject} | {row.weights} | {row.nbytes / 1e6:.1f} | {row.linear_bits:.2f} "
            f"| {numbers.mean_kl:.4f} ± {errors.mean_kl:.4f} | {numbers.median_kl:.4f} "
            f"| {numbers.kl_99:.3g} | {numbers.max_kl:.3g} "
            f"| {numbers.top1:.1%} ± {100 * errors.top1:.1f} "
            f"| {numbers.perplexity_ratio:.4f} ± {errors.perplexity_ratio:.4f} "
            f"| {row.worst}, {row.domains[row.worst].statistics.mean_kl:.4f} |"
        )
    return "\n".join(lines)


def table_of_domains(rows: Sequence[Row]) -> str:
    """Mean KL of each domain, with its standard error."""
    names = list(dict.fromkeys(name for row in rows for name in row.domains))
    lines = [f"| subject | weights | {' | '.join(names)} |", "|" + "---|" * (len(names) + 2)]
    for row in sorted(rows, key=lambda row: (row.weights, row.nbytes, row.subject)):
        cells = [
            f"{row.domains[name].statistics.mean_kl:.3g} ± {row.domains[name].errors.mean_kl:.1g}"
            for name in names
        ]
        lines.append(f"| {row.subject} | {row.weights} | {' | '.join(cells)} |")
    return "\n".join(lines)
