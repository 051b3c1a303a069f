"""A thousand decode steps in a row: does an artifact drift, and does its memory grow?

The steps are those of the route that covers every position, where an artifact returns no more than one
row of logits a call; nothing is decoded for this alone. Held against the float twin, which decodes the same
tokens, or against transformers where the artifact is its own:
    drift    mean KL of the last quarter of the steps, in times of the first quarter's
    memory   anonymous memory after the first `SETTLED` steps and at the last, less what the cache takes
Not about speed, nor what one step's logits should be.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from exporter.evaluation.statistics import Agreement
from exporter.lowering.interface import RouteRunner, Segment
from exporter.validation.findings import Findings
from exporter.validation.report import Gate
from exporter.validation.routes import Route
from exporter.validation.verdict import at_most
from runtimes.memory import process_memory
from runtimes.session import Logits, SessionFacts, Tokens

WANTED = 1000  # steps
FEWEST = 256  # less says nothing of a slow leak or a slow drift
SETTLED = 100  # steps after which everything that is made once has been made

DRIFT, GROWTH = "KL of the last quarter of the steps by the first's", "growth of anonymous memory"

# Text is not alike everywhere: the evaluation text has four languages and code.
MOST_DRIFT = 10.0
# Of logits being compared, on every thread, and what allocators keep: 1,000 leaked rows would be 1 GiB.
MOST_GROWTH = 96 << 20


@dataclass
class WatchedMemory:
    """Satisfies `RouteRunner` with another one, and sees memory at some positions. until: the last position
    to look at. read: anonymous bytes of this process."""

    runner: RouteRunner
    until: int
    read: Callable[[], int | None] = lambda: process_memory().anonymous
    found: dict[int, int | None] = field(default_factory=dict)

    @property
    def facts(self) -> SessionFacts:
        return self.runner.facts

    def run(
        self, segments: Sequence[Segment], tokens: Tokens, tell: Callable[[int], None]
    ) -> Generator[tuple[int, Logits]]:
        def told(done: int) -> None:
            if done in (SETTLED, self.until):
                self.found[done] = self.read()
            tell(done)

        yield from self.runner.run(segments, tokens, told)

    @property
    def growth(self) -> int | None:
        """Bytes, None where the system does not say or too little was run."""
        before, after = self.found.get(SETTLED), self.found.get(self.until)
        if before is None or after is None or self.until < FEWEST:
            return None
        return after - before


def judge_endurance(
    findings: Findings,
    artifact: str,
    subject: str,
    routes: Sequence[Route],
    agreement: Agreement,
    floor: float,
) -> None:
    """Put down whether it drifted. agreement: of the first route's positions. floor: mean KL below which
    there is nothing that could have drifted."""
    steps = max(each.tokens for route in routes for each in route.segments if each.call == "decode")
    if steps < WANTED:
        findings.not_checked.append(
            f"{artifact}, {subject}: {steps:,} decode steps in a row were run, and not {WANTED:,}."
        )
    if steps < FEWEST or len(routes[0].decoded()) < steps:
        return
    quarter = len(agreement.kl) // 4
    first, last = float(agreement.kl[:quarter].mean()), float(agreement.kl[-quarter:].mean())
    verdict = at_most(last / max(first, floor), MOST_DRIFT, "times")
    findings.gates.append(Gate("endurance", artifact, f"{subject}: {steps:,} decode steps", DRIFT, verdict))


def judge_memory(findings: Findings, artifact: str, subject: str, growth: int, expected: int) -> None:
    """Put down whether memory grew by more than what is known of. expected: bytes."""
    verdict = at_most(float(max(0, growth - expected)), float(MOST_GROWTH), "bytes")
    findings.gates.append(Gate("endurance", artifact, subject, GROWTH, verdict))
