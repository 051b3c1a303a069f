"""`compare_artifacts`: a release's artifacts, run as they will run, beside the original, by domain.

What integers and a runtime's own rounding cost together: a release holds no quantised checkpoint. Steps:
  (0) texts become sequences as in `side_by_side`, none longer than an artifact's cache holds
  (1) the original's logits at every position, by the streamed reference, in a file a sequence
  (2) each artifact is opened once and fed each sequence, and held against (1)
Takes disk of 4 bytes * positions * vocabulary for temporary files. Not about limits, or about other ways
to be fed than one (`exporter.validation`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import UsageError
from exporter.evaluation.side_by_side import ByDomain, cut_up
from exporter.evaluation.statistics import Agreement
from exporter.formats.table import drivers_of
from exporter.progress import Progress
from exporter.reference.logits_file import LogitsFile
from exporter.reference.streamed import StreamedReference
from exporter.reference.texts import TokenisedText
from exporter.reference.weights import ReferenceWeights
from exporter.validation.routes import SessionRunner, plan_routes, run_route
from runtimes.manifest import Artifact
from runtimes.session import Tokens


@dataclass(frozen=True)
class PlacedArtifact:
    """release: the directory that `artifact.path` is relative to."""

    release: Path
    artifact: Artifact


def compare_artifacts(
    original: ReferenceWeights,
    artifacts: Sequence[PlacedArtifact],
    texts: Sequence[TokenisedText],
    longest: int,
    progress: Progress,
) -> list[ByDomain]:
    """Each artifact's agreement with the original, position by position, text by text.

    longest: tokens of a sequence, the last of which is only predicted. Raises UsageError for an artifact of
    another vocabulary, and what its driver raises.
    """
    # (0)
    sequences = {text.name: cut_up(text.tokens, longest) for text in texts}
    every = [each for pieces in sequences.values() for each in pieces]
    with tempfile.TemporaryDirectory(prefix="gemma-export-") as place:
        # (1)
        logits = _logits(original, every, Path(place), progress)
        # (2)
        return [_by_domain(each, sequences, logits, progress) for each in artifacts]


def _logits(
    original: ReferenceWeights, sequences: Sequence[Tokens], place: Path, progress: Progress
) -> list[LogitsFile]:
    """The original's at all but the last token of each sequence."""
    model = StreamedReference(original)
    batches = [each[None, :-1] for each in sequences]
    files = [
        LogitsFile.create(place / str(number), batch.size, model.vocab_size)
        for number, batch in enumerate(batches)
    ]
    computed = model.final_states(batches, progress)
    for start, block in model.head(computed, model.head_rows(sum(batch.size for batch in batches))):
        at = 0
        for file in files:
            file.write_columns(start, block[at : at + file.positions].numpy())
            at += file.positions
        progress("original: head", start + block.shape[1], model.vocab_size)
    return files


def _by_domain(
    placed: PlacedArtifact,
    sequences: dict[str, list[Tokens]],
    logits: Sequence[LogitsFile],
    progress: Progress,
) -> ByDomain:
    artifact = placed.artifact
    if artifact.vocab_size != logits[0].vocab:
        raise UsageError(
            placed.release / artifact.path,
            f"has {artifact.vocab_size} tokens, and the original has {logits[0].vocab}",
            "compare what was made of one model",
        )
    total, done, files = sum(file.positions for file in logits), 0, iter(logits)
    found: dict[str, Agreement] = {}
    with drivers_of(artifact.format)[-1].open(placed.release, artifact) as session:
        for name, pieces in sequences.items():
            parts = []
            for tokens in pieces:
                route, _ = plan_routes(session.facts, len(tokens) - 1)
                result = run_route(
                    SessionRunner(session), route, tokens, {"original": next(files)}, tell=lambda _: None
                )
                parts.append(result.agreements["original"])
                done += len(tokens) - 1
                progress(f"run {artifact.path}", done, total)
            found[name] = Agreement.joined(parts)
    return found
