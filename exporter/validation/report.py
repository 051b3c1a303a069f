"""`ValidationReport`: everything validation found, ready to be written as JSON.

Not about limits (`gates`) or looks (`exporter.views`). Views are made of this and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from exporter.evaluation.kl_spread import KlSpread
from exporter.evaluation.statistics import Statistics
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.estimates import CacheSize
from exporter.reference.domain_kind import DomainKind
from exporter.reference.peak import Peak
from exporter.stopwatch import Timing
from exporter.validation.verdict import EXIT_CODES, Outcome, Skipped, Verdict, outcome
from exporter.validation.weight_errors import WeightError
from exporter.validation.weight_origins import WeightOrigin
from runtimes.formats import Format

REPORT_SCHEMA_VERSION = 10

Kind = Literal[
    "files",
    "execution",
    "weights",
    "lowering",
    "degenerate",
    "boundaries",
    "endurance",
    "kernels",
    "quantisation",
    "domain",
    "end to end",
    "copying",
    "template",
    "path",
    "range",
    "images",
    "sounds",
]
"""files: checksums of the release (only when one is checked again). execution: the artifact opens, runs
and returns finite numbers. weights: integers and scales read back from the artifact against the quantised
checkpoint. lowering: float twin against transformers on the quantised checkpoint. degenerate: logits that
are constant, not finite or what they were before, of the references too. boundaries: prompts that end
where a chunk, a window or a ring does, against the artifact given the whole text. endurance: a thousand
decode steps in a row, whether they drift and whether memory grows. kernels: artifact against its twin.
quantisation: transformers on the quantised against the original checkpoint. domain: the same over one
language, code or chat. end to end: artifact against transformers on the original checkpoint. copying: what
is chosen where facts from far back are asked for, an artifact against transformers on the quantised
checkpoint and that against the original one. template: prompts rendered by the artifact's runtime against
transformers' rendering. path: the artifact on a GPU, in a browser or on an emulated processor, against its
twin or this machine's CPU. range: the largest magnitudes of transformers on the quantised checkpoint, as a
graph holds them, against what half precision holds. images: rows of the image tower against transformers'
towers, logits and answers behind pictures against transformers on the quantised checkpoint, and that a
blind run differs; in a browser, rows and logits against this machine's CPU on what the browser prepared.
sounds: the same of the audio encoder, and that a deaf run differs. Never merged."""


@dataclass(frozen=True)
class Comparison:
    """One measurement. artifact: manifest path, None where no artifact takes part (quantisation).

    route: how the subject was fed, in words ("prefill in chunks of 128, then 128 decode steps").
    kl: how KL is spread over the positions that `statistics` is of.
    """

    kind: Kind
    artifact: str | None
    subject: str
    reference: str
    route: str
    statistics: Statistics
    kl: KlSpread


@dataclass(frozen=True)
class DomainAgreement:
    """One language, code or chat: transformers on the quantised against the original checkpoint."""

    name: str
    kind: DomainKind
    statistics: Statistics


@dataclass(frozen=True)
class Gate:
    """One limit and its verdict. statistic: what was held against it ("mean KL", "top-1")."""

    kind: Kind
    artifact: str | None
    subject: str
    statistic: str
    verdict: Verdict


@dataclass(frozen=True)
class GreedyRun:
    """64 greedy tokens of an artifact after a prompt, held against the reference's own choice.

    agreed: tokens until the first that transformers on the original checkpoint would not have chosen.
    """

    prompt: str
    text: str
    tokens: int
    agreed: int


@dataclass(frozen=True)
class ArtifactRun:
    """What is known of an artifact from having run it. Times are of this machine, for orientation.

    cache: what its KV cache takes at this context; None where no checkpoint was at hand to tell.
    """

    artifact: str
    format: Format
    runtime: str
    version: str
    arithmetic: str
    context: int
    bytes: int
    cache: CacheSize | None
    prefill_tokens_per_second: float | None
    decode_tokens_per_second: float | None
    peak_resident_bytes: int | None
    non_finite_operations: int
    greedy: tuple[GreedyRun, ...]

    @property
    def subject(self) -> str:
        """What it is called where it is compared."""
        return f"{self.runtime} {self.version}, {self.arithmetic}"


@dataclass(frozen=True)
class CopyRun:
    """Answers whose facts stand `distance` tokens back, as one subject gave them.

    artifact: None for transformers on the quantised checkpoint. tokens: of the true answers. known: those
    that transformers on the original checkpoint would choose itself. as_original: those where the subject
    chooses what that does. decided: those that the reference of the gate is decided about: transformers on
    the quantised checkpoint, and on the original one where the subject is the quantised. lost: those of the
    decided that the subject chooses otherwise.
    """

    artifact: str | None
    subject: str
    distance: int
    tokens: int
    known: int
    as_original: int
    decided: int
    lost: int


@dataclass(frozen=True)
class PathExecution:
    """An execution path that ran. device: what computed, in its own words. left_over: operations the
    accelerator did not take; None where the path has none to take them. seconds: of all of it, of this
    machine. positions: whose logits were compared."""

    runtime: str
    version: str
    device: str
    arithmetic: str
    left_over: tuple[str, ...] | None
    positions: int
    seconds: float
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class PathFailure:
    """An execution path that is here and did not run the artifact: a crash, a hang, a refusal."""

    reason: str


@dataclass(frozen=True)
class PathRun:
    """One execution path of one artifact. `Skipped`: it was not executed, which is no gate and no pass
    (docs/adr/0018). says_nothing_of: what even a pass must not be taken for, a clause."""

    artifact: str
    path: str
    title: str
    says_nothing_of: str
    result: PathExecution | PathFailure | Skipped


@dataclass(frozen=True)
class SampleRun:
    """What a tower made of one picture or sound. largest, relative, cosine: as `rows_apart.RowsApart` has
    them, against transformers on the quantised tower. seconds: of the tower, of this machine. answer: what
    was said about the sample; None where nothing was asked."""

    sample: str
    soft_tokens: int
    largest: float
    relative: float
    cosine: float
    seconds: float | None
    answer: GreedyRun | None


@dataclass(frozen=True)
class TowerRun:
    """artifact: the tower's; None for transformers on the quantised tower, against the original one."""

    artifact: str | None
    subject: str
    samples: tuple[SampleRun, ...]


@dataclass(frozen=True)
class TowerInput:
    """A release that takes images, or sounds. soft_tokens: of one of them, at most. taken_by, not_by: its
    artifacts that do and those that do not."""

    soft_tokens: int
    taken_by: tuple[str, ...]
    not_by: tuple[str, ...]
    runs: tuple[TowerRun, ...]


@dataclass(frozen=True)
class ValidationReport:
    """The whole of it. left_out: parts of the checkpoint that are not in the release, a phrase each.
    remarks: how the checkpoint was read where it does not say it all itself, a sentence each.
    devices: what is predicted of the devices it is meant for, none where a release is checked again.
    paths: every execution path of every artifact, those that were not executed too.
    copying: answers by subject and distance; empty where the context was too short to ask.
    activations: how large values became in transformers on the quantised checkpoint, over both texts.
    images, sounds: None for a release that takes none.
    domains: what quantising costs each language, code and chat; empty where they were not compared.
    weights: how the matrices came to be; weight_errors: how far each is from what it was quantised from.
    Both empty where the quantised checkpoint is not at hand.
    text: what of the evaluation text was compared, by its pieces.
    not_checked: what nobody should read into a pass, one sentence each. timings: where this machine's time
    went until here, for orientation."""

    schema_version: int
    model: str
    recipe: str
    target: str
    devices: tuple[DeviceVerdict, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    weights: tuple[WeightOrigin, ...]
    weight_errors: tuple[WeightError, ...]
    text: str
    text_tokens: int
    text_sha256: str
    machine: dict[str, str]
    versions: dict[str, str]
    comparisons: tuple[Comparison, ...]
    domains: tuple[DomainAgreement, ...]
    gates: tuple[Gate, ...]
    runs: tuple[ArtifactRun, ...]
    copying: tuple[CopyRun, ...]
    paths: tuple[PathRun, ...]
    activations: tuple[Peak, ...]
    images: TowerInput | None
    sounds: TowerInput | None
    not_checked: tuple[str, ...]
    timings: tuple[Timing, ...]

    @property
    def outcome(self) -> Outcome:
        return outcome(gate.verdict for gate in self.gates)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]
