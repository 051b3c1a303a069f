"""`Baselines`: logits of transformers on the checkpoints of a job, kept on disk, what it chooses in the
copy-and-extract text, and the peaks on the way.

Made when they are first asked for and once for a job: what several variants compare with is the same, as
far as their contexts go. Not about artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exporter.evaluation.statistics import Agreement, agree
from exporter.job import Job
from exporter.progress import Progress, about
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.copy_text import CopyText
from exporter.reference.leads import Decisions
from exporter.reference.logits_file import LogitsFile
from exporter.reference.peak import Peak
from exporter.reference.peaks import Peaks
from exporter.reference.special_prompt import SpecialPrompt, special_prompt, special_text, special_tokens
from exporter.reference.streamed import reference_decisions, reference_logits
from exporter.reference.weights import OriginalWeights, ReferenceWeights
from exporter.validation.copying import Copying
from runtimes.session import Tokens

ORIGINAL, QUANTISED = "original", "quantised"
FAR_BACK = "facts from far back"
READ_BYTES = 64 << 20  # of logits read at once


class Baselines:
    """directory: existing, for the files; whoever made it deletes it. recipes: of each store of the job, by
    its directory's name."""

    def __init__(self, job: Job, directory: Path, recipes: Mapping[str, str] | None = None) -> None:
        self._job, self._directory, self._recipes = job, directory, recipes or {}
        self._files: dict[str, LogitsFile] = {}
        self._decisions: dict[str, Decisions] = {}
        self._peaks: dict[str, Peaks] = {}
        self._special: dict[str, SpecialPrompt] = {}

    def original(self) -> LogitsFile:
        """transformers on the checkpoint as it came."""
        return self._logits(ORIGINAL, OriginalWeights(self._job.source))

    def quantised(self, checkpoint: QuantizedCheckpoint) -> LogitsFile:
        """transformers on a quantised checkpoint of the job."""
        return self._logits(_name(checkpoint), UnpackedWeights(checkpoint))

    def copying(self, checkpoint: QuantizedCheckpoint, context: int) -> Copying | None:
        """The copy-and-extract text as far as caches of `context` positions hold it, and what transformers
        chooses in it on the original and on a quantised checkpoint; None where they hold no question."""
        text = self._job.copying(self._job.longest_context)
        if text is None:
            return None
        return Copying(
            text,
            self._decided(ORIGINAL, OriginalWeights(self._job.source), text),
            self._decided(_name(checkpoint), UnpackedWeights(checkpoint), text),
        ).within(context)

    def special(self, checkpoint: QuantizedCheckpoint) -> SpecialPrompt:
        """What transformers makes of a prompt of special tokens on a quantised checkpoint."""
        name = f"{_name(checkpoint)}-special"
        if name not in self._special:
            job, facts = self._job, self._job.source.tokens
            weights = UnpackedWeights(checkpoint)
            special = special_tokens(job.texts, (facts.pad_token, facts.eos_token, *facts.stop_tokens))
            context = min(plan.variant.context for plan in job.plans)
            tokens = special_text(job.texts, special, context)
            with job.stopwatch.step(f"{weights.description}, special tokens"):
                progress = self._told("special tokens", _name(checkpoint))
                self._special[name] = special_prompt(
                    weights, tokens, special, self._directory / name, progress
                )
        return self._special[name]

    def peaks(self, checkpoint: QuantizedCheckpoint) -> tuple[Peak, ...]:
        """The largest magnitudes in transformers on a quantised checkpoint of the job, over the evaluation
        text and the copy-and-extract text."""
        self.quantised(checkpoint)
        self.copying(checkpoint, self._job.longest_context)
        return self._peaks[_name(checkpoint)].found

    def _logits(self, name: str, weights: ReferenceWeights) -> LogitsFile:
        if name not in self._files:
            job = self._job
            with job.stopwatch.step(weights.description):
                tokens = job.longest_evaluation.tokens[:-1]
                peaks = self._peaks_of(name)
                path = self._directory / name
                progress = self._told("evaluation text", name)
                self._files[name] = reference_logits(weights, tokens, path, progress, peaks)
        return self._files[name]

    def _decided(self, name: str, weights: ReferenceWeights, text: CopyText) -> Decisions:
        if name not in self._decisions:
            job = self._job
            with job.stopwatch.step(f"{weights.description}, {FAR_BACK}"):
                self._decisions[name] = reference_decisions(
                    weights,
                    text.tokens,
                    text.positions,
                    self._told(FAR_BACK, name),
                    self._peaks_of(name),
                )
        return self._decisions[name]

    def _told(self, text: str, name: str) -> Progress:
        """The job's, told what passes through which checkpoint; its recipe where there are several."""
        recipe = self._recipes.get(name.removeprefix(f"{QUANTISED}-"))
        several = recipe is not None and len(self._recipes) > 1
        return about(self._job.progress, f"{text}, {recipe}" if several else text)

    def _peaks_of(self, name: str) -> Peaks | None:
        """Where a checkpoint's peaks go; those of the original are nobody's: no graph computes with it."""
        return None if name == ORIGINAL else self._peaks.setdefault(name, Peaks())


def _name(checkpoint: QuantizedCheckpoint) -> str:
    return f"{QUANTISED}-{checkpoint.directory.name}"


def compare_files(
    reference: LogitsFile, subject: LogitsFile, tokens: Tokens, progress: Progress
) -> Agreement:
    """How two files agree at the positions of tokens[:-1]; tokens[1:] are the true next ones."""
    step = max(1, READ_BYTES // (reference.vocab * 4))
    positions = len(tokens) - 1
    parts = []
    for start in range(0, positions, step):
        stop = min(positions, start + step)
        following = tokens[start + 1 : stop + 1]
        parts.append(agree(reference.rows(start, stop), subject.rows(start, stop), following))
        progress("compare references", stop, positions)
    return Agreement.joined(parts)
