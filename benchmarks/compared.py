"""What a benchmark made of a checkpoint, compared with the original as `benchmarks.quality` compares.

Not about subjects that `benchmarks.quality` itself knows (`quality_subjects`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from benchmarks.one_variant import nothing
from benchmarks.quality_rows import Row
from exporter.checkpoints.interface import CheckpointSource
from exporter.evaluation.figures import figures
from exporter.evaluation.side_by_side import compare_weights
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.reference.domains import read_domains
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights, ReferenceWeights
from exporter.resources import data_directory


def compared(
    source: CheckpointSource, subjects: Mapping[str, tuple[ReferenceWeights, QuantizedCheckpoint]]
) -> list[Row]:
    """A row for each subject by name, which is its weights and the store whose bytes they take; all share
    one pass of the original over `samples/languages`."""
    domains = read_domains(data_directory("samples") / "languages", source, Texts.of(source))
    weights = [each for each, _ in subjects.values()]
    found = compare_weights(OriginalWeights(source), weights, [domain.text for domain in domains], nothing)
    rows = []
    for (name, (_, store)), agreed in zip(subjects.items(), found, strict=True):
        stored = sum(each.scheme.stored_bytes(each.shape) for each in store.matrices.values())
        stored += sum(values.nbytes for values in store.vectors.values())
        by_domain = {domain: figures({domain: each}) for domain, each in agreed.items()}
        rows.append(Row(name, "original", stored, float("nan"), figures(agreed), by_domain))
        mean = rows[-1].overall.statistics.mean_kl
        print(f"{name}: mean KL {mean:.4f}", file=sys.stderr, flush=True)
    return rows
