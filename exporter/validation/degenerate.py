"""Whether logits say anything: not all of one size, and not the same whatever came before.

A model of zeros answers `<pad>` everywhere, and everything made from it agrees with it. So the references
are looked at as well as the artifacts. Not about whether what logits say is right.
"""

from __future__ import annotations

import numpy as np

from exporter.reference.logits_file import LogitsFile
from exporter.validation.findings import Findings
from exporter.validation.gates import count_gate
from runtimes.session import Logits

EMPTY = "positions whose logits say nothing"
LOOKED_AT = 16  # positions, spread over the text

# Of the largest logit. Rounding moves a logit by 1e-6 of it; a tiny random model's differ by half and more.
ALIKE = 1e-4


def say_nothing(logits: Logits) -> int:
    """Rows of [positions, vocab] that are constant over the vocabulary or hold what is no number, and those
    that only repeat the row before."""
    count = 0
    for at, row in enumerate(logits):
        alike = ALIKE * float(np.abs(row).max())
        flat = not float(row.max() - row.min()) > alike  # also where one is NaN
        repeated = at > 0 and not float(np.abs(row - logits[at - 1]).max()) > alike
        count += flat or repeated
    return count


def judge_reference(findings: Findings, description: str, file: LogitsFile) -> None:
    """Put down whether there is anything to agree with. description: of the reference, in words."""
    at = np.unique(np.linspace(0, file.positions - 1, LOOKED_AT).astype(int)).tolist()
    empty = say_nothing(np.concatenate([file.rows(each, each + 1) for each in at]))
    findings.gates.append(count_gate("degenerate", None, description, EMPTY, empty, "positions"))
    if empty:
        findings.not_checked.append(
            f"{description}: at {empty} of {len(at)} positions its logits are constant, not finite or what "
            "they were before. It is no trained model, and agreeing with it says nothing: fetch the "
            "checkpoint again."
        )


def judge_artifact(findings: Findings, artifact: str, subject: str, logits: Logits) -> None:
    """Put down whether an artifact says anything. logits: of some positions, in order, [n, vocab]."""
    with np.errstate(invalid="ignore"):  # infinite logits say nothing either
        empty = say_nothing(logits)
    findings.gates.append(count_gate("degenerate", artifact, subject, EMPTY, empty, "positions"))
