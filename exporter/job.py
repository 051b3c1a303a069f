"""`Job`: one request being served: what it starts from, what is planned, and what every step is given.

Not about the steps (`exporter.pipeline`) or what variants have in common once it is made (`workshop`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import UsageError
from exporter.lowering.interface import Lowering
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.plan import Plan
from exporter.progress import Progress
from exporter.reference.calibration_text import CalibrationText, calibration_text
from exporter.reference.copy_text import DISTANCES, CopyText, copying_text
from exporter.reference.texts import Texts, TokenisedText
from exporter.stopwatch import Stopwatch
from runtimes.excerpt import plain_excerpt
from runtimes.manifest import CalibrationEntry
from runtimes.session import PrefillLogits

PROMPTS = ("The capital of France is",)


@dataclass(frozen=True)
class Job:
    """plans: one for each variant. lowerings: by runtime family, for all of them.

    work: existing directory for what is not shipped, with room for the quantised weights, about 1 MiB for
    each evaluation token, four times, and for what a float twin takes (LiteRT: 2 GiB of weights and 1 MiB
    for each evaluation token). prefill_logits: positions a prefill returns logits for, where there is a
    choice. token_limit: evaluation tokens to compare at most, None for all that the context holds.
    accelerators: execute on those that are here too. calibration_files: the user's own text for finding
    codes, none for what ships. left_out: verdicts on devices that no plan is for. prompts: for greedy
    tokens. distances: tokens back from which facts are asked for, as far as the context holds.
    """

    source: CheckpointSource
    plans: tuple[Plan, ...]
    lowerings: Mapping[str, Lowering]
    texts: Texts
    work: Path
    progress: Progress
    stopwatch: Stopwatch
    prefill_logits: PrefillLogits = "last"
    token_limit: int | None = None
    accelerators: bool = True
    calibration_files: tuple[Path, ...] = ()
    left_out: tuple[DeviceVerdict, ...] = ()
    prompts: tuple[str, ...] = PROMPTS
    distances: tuple[int, ...] = DISTANCES

    @cached_property
    def calibration(self) -> CalibrationText:
        """Read when it is first asked for. Raises as `calibration_text`."""
        return calibration_text(self.source, self.texts, self.calibration_files)

    def text_for(self, plan: Plan) -> CalibrationText | None:
        """The text that a plan's codes are found on, None where its recipe wants none."""
        wanted = plan.variant.recipe.calibration
        if wanted is None:
            return None
        return self.calibration.first(wanted.tokens_for(self.source.components["text"].spec))

    def calibration_of(self, plan: Plan) -> CalibrationEntry | None:
        """The same as a manifest has it."""
        text = self.text_for(plan)
        return None if text is None else CalibrationEntry(text.names, text.tokens, text.sha256)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever releases what it makes should know of where it starts from, a sentence each."""
        own: tuple[str, ...] = ()
        if self.calibration_files:
            names = ", ".join(plain_excerpt(file.name) for file in self.calibration_files)
            own = (
                f"Codes were fitted to text of the user's ({names}; SHA-256 of its tokens "
                f"{self.calibration.sha256[:16]}…), which `validate` wants again with --calibration.",
            )
        return (*self.source.remarks, *self.source.tokens.remarks, *own)

    def evaluation(self, context: int) -> TokenisedText:
        """The evaluation text as far as caches of `context` positions hold it."""
        room = context + 1  # the last token is only predicted
        return self.texts.evaluation.cut(room if self.token_limit is None else min(room, self.token_limit))

    def copying(self, context: int) -> CopyText | None:
        """The copy-and-extract text as far as caches of `context` positions hold it, and as long as a text
        may be here. None where that is not even the nearest distance."""
        room = context if self.token_limit is None else min(context, self.token_limit)
        return copying_text(self.texts, self.distances).within(room)

    @property
    def longest_context(self) -> int:
        """Of the variant with most room."""
        return max(plan.variant.context for plan in self.plans)

    @property
    def longest_evaluation(self) -> TokenisedText:
        """What the variant with most room compares; the others compare the beginning of it."""
        return self.evaluation(self.longest_context)


def require_token_limit(texts: Texts, limit: int | None) -> None:
    """Raise UsageError for a limit that is none, as no text has so many tokens: whoever gives it expects
    more to be compared than there is."""
    if limit is None:
        return
    longest = max(texts.evaluation.available, len(copying_text(texts).tokens))
    if limit > longest:
        raise UsageError(
            f"--validation-tokens {limit}",
            f"the evaluation text has {texts.evaluation.available:,} tokens, and the longest text there is "
            f"{longest:,}",
            f"leave it out to compare all of them, or give at most {longest}",
        )
