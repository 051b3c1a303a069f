"""Replay a release's vectors.json on a Mac: does Core ML return what the evaluator computed?

    pip install coremltools numpy
    python replay_on_mac.py my-release/coreml/vectors.json

Exits 0 when the divergence stays within the file's tolerances, 1 when not. It needs macOS 15. This
project's own tests run its comparison against the MIL evaluator; on Apple hardware it has not been
run by us, and its first run there may well be yours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def log_probabilities(expected: dict[str, Any]) -> np.ndarray:
    """Log probabilities of the listed tokens, then of all the others together."""
    listed = np.array([logit for _, logit in expected["top"]]) - expected["log_sum_exp"]
    return np.append(listed, np.log(max(1.0 - np.exp(listed).sum(), 1e-12)))


def divergence(expected: dict[str, Any], logits: np.ndarray) -> float:
    """KL divergence of logits [vocab] from the expected ones, over (listed tokens, all others)."""
    wide = logits.astype(np.float64)
    largest = wide.max()
    summed = largest + np.log(np.exp(wide - largest).sum())
    top = [[token, wide[token]] for token, _ in expected["top"]]
    reference = log_probabilities(expected)
    got = log_probabilities({"top": top, "log_sum_exp": summed})
    return float(np.sum(np.exp(reference) * (reference - got)))


def replay(model: Any, vectors: dict[str, Any]) -> list[tuple[float, bool]]:
    """(divergence, same first choice) of every expected position, calls in order on one state."""
    state = model.make_state()
    end, results = 0, []
    for call in vectors["calls"]:
        tokens = np.array([call["tokens"]], np.int32)
        end += tokens.shape[1]
        # The graph is causal by itself: the mask only says how long the cache is.
        mask = np.zeros((1, 1, tokens.shape[1], end), np.float16)
        logits = model.predict({"inputIds": tokens, "causalMask": mask}, state)["logits"][0]
        for expected in call["expected"]:
            row = logits[expected["position"]]
            same = int(np.argmax(row)) == expected["top"][0][0]
            results.append((divergence(expected, row), same))
    return results


def main(path: Path) -> int:
    import coremltools as ct

    vectors = json.loads(path.read_text(encoding="utf-8"))
    if vectors["schema_version"] != 1:
        print(f"{path}: schema version {vectors['schema_version']}; use the script of that release")
        return 2
    units = [ct.ComputeUnit.CPU_ONLY, ct.ComputeUnit.CPU_AND_GPU, ct.ComputeUnit.ALL]
    worst = 0
    for unit in units:
        model = ct.models.MLModel(str(path.parent / vectors["model"]), compute_units=unit)
        results = replay(model, vectors)
        divergences = np.array([kl for kl, _ in results])
        limits = vectors["tolerances"]
        passed = bool(divergences.mean() <= limits["mean_kl"] and divergences.max() <= limits["max_kl"])
        worst |= not passed
        same = sum(same for _, same in results)
        print(
            f"{unit.name}: {'passed' if passed else 'FAILED'}, KL mean {divergences.mean():.2e} "
            f"max {divergences.max():.2e} (limits {limits['mean_kl']:.0e}, {limits['max_kl']:.0e}), "
            f"first choice {same}/{len(results)}"
        )
    return worst


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
