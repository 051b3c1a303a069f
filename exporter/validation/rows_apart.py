"""How far rows of a tower are from those they should be, and the gates on it.

Not about logits behind them (`logits_behind_rows`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.formats.rows_driver import RowsLimit
from exporter.validation.gates import SHARE
from exporter.validation.report import Gate, Kind
from exporter.validation.verdict import at_least, at_most
from runtimes.encoder import EncodedRows

RELATIVE, COSINE = "mean relative error of rows", "cosine of the farthest row"


@dataclass(frozen=True)
class RowsApart:
    """largest: of the differences, as a share of the root of the rows' mean square. relative: the mean over
    rows of the difference's length as a share of the row's, or of the rows' mean length where a row is
    nothing, as the 12B's of silence are. cosine: the least of any row that is something."""

    largest: float
    relative: float
    cosine: float


UNKNOWN = RowsApart(float("nan"), float("nan"), float("nan"))


def rows_apart(expected: EncodedRows, found: EncodedRows) -> RowsApart:
    """Not a number throughout where the two have not as many rows, or where all should be nothing."""
    if expected.shape != found.shape or not expected.any():
        return UNKNOWN
    wanted, got = expected.astype(np.float64), found.astype(np.float64)
    lengths = np.linalg.norm(wanted, axis=1)
    some = lengths > 0
    apart, shares = got - wanted, np.where(some, lengths, lengths.mean())
    with np.errstate(divide="ignore", invalid="ignore"):  # rows of nothing have no direction: NaN fails
        cosines = (wanted * got).sum(axis=1)[some] / (lengths * np.linalg.norm(got, axis=1))[some]
        return RowsApart(
            largest=float(np.abs(apart).max() / np.sqrt(np.square(wanted).mean())),
            relative=float((np.linalg.norm(apart, axis=1) / shares).mean()),
            cosine=float(cosines.min()),
        )


def rows_gates(
    kind: Kind, artifact: str | None, subject: str, found: list[RowsApart], limit: RowsLimit
) -> list[Gate]:
    """Of the picture or sound that is farthest off."""
    relative = max((each.relative for each in found), key=_unknown_first)
    cosine = min((each.cosine for each in found), key=lambda value: -_unknown_first(-value))
    return [
        Gate(kind, artifact, subject, RELATIVE, at_most(relative, limit.relative, SHARE)),
        Gate(kind, artifact, subject, COSINE, at_least(cosine, limit.cosine, "")),
    ]


def _unknown_first(value: float) -> float:
    return np.inf if np.isnan(value) else value
