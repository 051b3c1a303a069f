"""An artifact, or a tower of it, executed on an emulated ARM64 CPU, in a process of its own with a time
limit.

What runs there is this package, from this very source, with the wheels of the root. Orders and numbers
pass through files. Not about what the logits should be, nor about making the root (`prepare`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import runtimes
from runtimes.arm64.guest import Answer, Feeding, FeedPrompts, Order
from runtimes.arm64.root import PREPARE, Arm64Root
from runtimes.asked_work import ANSWER, LOGITS, ORDER, TOKENS, EncodeSamples, FeedTokens
from runtimes.encoder import EncodedRows
from runtimes.errors import (
    ArtifactError,
    EncoderError,
    ExecutionFailed,
    ProcessingError,
    RuntimesError,
    RuntimeUnavailable,
    SessionError,
)
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.fed_prompt import FedPrompt
from runtimes.multimodal.passed_files import (
    BEHIND,
    ROWS,
    Prepared,
    read_numbers,
    write_prompts,
    write_samples,
)
from runtimes.own_process import run_in_own_process
from runtimes.records import from_plain, to_plain
from runtimes.session import Logits, Tokens
from runtimes.strict_json import read_json_object

THREADS = 2
RAISED: dict[str, type[RuntimesError]] = {
    each.__name__: each
    for each in (ArtifactError, EncoderError, ProcessingError, RuntimeUnavailable, SessionError)
}
# No core files: they would be of the emulator, as large as the model, and nobody asked for them.
START = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
SERVE = "from pathlib import Path; from runtimes.arm64.guest import serve; serve(Path({directory!r}))"


@dataclass(frozen=True)
class EmulatedSensing:
    """encoder: of a release; artifact: the format's for text. scratch: existing empty directory."""

    release: Path
    encoder: EncoderArtifact
    artifact: Artifact
    scratch: Path


@dataclass(frozen=True)
class EmulatedCpu:
    """One CPU of a root's QEMU. name: as QEMU names it ("cortex-a76"). seconds: time limit of a run."""

    root: Arm64Root
    name: str
    seconds: float

    def run(
        self, release: Path, artifact: Artifact, tokens: Tokens, prefilled: int, scratch: Path
    ) -> tuple[Logits, Answer]:
        """Feed an artifact from an empty cache: `prefilled` tokens by prefill, each other one by decode.

        scratch: existing empty directory. Returns the logits of the decoded tokens, [decoded, vocab], and
        what the run said of itself. Raises ExecutionFailed where it crashes, hangs or gives nothing, and
        what opening and feeding a session raise.
        """
        np.save(scratch / TOKENS, tokens)
        answer = self._executed(release, artifact, FeedTokens(prefilled), scratch)
        return np.load(scratch / LOGITS), answer

    def rows(
        self, sensing: EmulatedSensing, samples: Sequence[Prepared]
    ) -> tuple[tuple[EncodedRows, ...], Answer]:
        """Of each sample, by the tower. Raises as `run`, and EncoderError for a sample of another tower."""
        write_samples(sensing.scratch, samples)
        answer = self._executed(
            sensing.release, sensing.artifact, EncodeSamples(sensing.encoder), sensing.scratch
        )
        return read_numbers(sensing.scratch / ROWS), answer

    def behind(
        self, sensing: EmulatedSensing, prompts: Sequence[FedPrompt]
    ) -> tuple[tuple[Logits, ...], Answer]:
        """Logits behind each prompt, as `behind_each` has them. Raises as `run`."""
        write_prompts(sensing.scratch, prompts)
        answer = self._executed(
            sensing.release, sensing.artifact, FeedPrompts(sensing.encoder), sensing.scratch
        )
        return read_numbers(sensing.scratch / BEHIND), answer

    def _executed(
        self,
        release: Path,
        artifact: Artifact,
        asked: Feeding,
        scratch: Path,
    ) -> Answer:
        """What the run said of itself; what it made lies in the scratch directory."""
        executed = artifact.path if isinstance(asked, FeedTokens) else asked.encoder.path
        what = f"{executed} on an emulated {self.name}"
        # Only this package is lent: the site-packages it may lie in are another architecture's.
        lent = scratch / "lent"
        lent.mkdir()
        (lent / "runtimes").symlink_to(Path(runtimes.__file__).parent)
        order = Order(str(release.absolute()), artifact, asked, THREADS)
        (scratch / ORDER).write_text(json.dumps(to_plain(order)), encoding="utf-8")
        statements = f"{START}; {SERVE.format(directory=str(scratch.absolute()))}"
        command = self.root.python(self.name, statements, (lent.absolute(),))
        environment = {"TMPDIR": str(scratch.absolute()), "LANG": "C.UTF-8"}
        try:
            printed = run_in_own_process(command, what=what, seconds=self.seconds, environment=environment)
        except OSError as error:
            raise ExecutionFailed(
                f"{what}: QEMU does not start ({error}); prepare the root again: {PREPARE}"
            ) from error
        if not (scratch / ANSWER).is_file():
            raise ExecutionFailed(f"{what}: ended without an answer; it printed last: {printed.last}")
        answer = from_plain(Answer, read_json_object(scratch / ANSWER))
        if answer.error is not None:
            kind, message = answer.error
            raise RAISED.get(kind, ExecutionFailed)(f"on an emulated {self.name}: {message}")
        return answer
