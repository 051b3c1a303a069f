"""What a decoder says behind rows of pictures or sounds, against transformers, and what it must not say.

    (1) logits behind samples, with transformers' rows for both, so that the decoder alone is judged
    (2) with rows of its own, against the original: reported, not gated
    (3) a run whose rows are nothing must differ
    (4) text alone against the artifact for text
Kernels round: logits may stray `ROUNDING` times as far as they do without a sample. Not about the rows
themselves (`rows_apart`), nor about answers (`rows_answers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.evaluation.kl_spread import spread_of
from exporter.evaluation.statistics import Agreement, agree
from exporter.formats.rows_driver import ROUNDING
from exporter.validation.baselines import ORIGINAL, QUANTISED
from exporter.validation.checked_tower import CheckedRun
from exporter.validation.gates import MEAN_KL, NATS
from exporter.validation.placed_prompts import Returned, given, given_text
from exporter.validation.report import Comparison, Gate
from exporter.validation.verdict import at_least, at_most
from runtimes.encoder import EncodedRows
from runtimes.errors import NoRoomForCall
from runtimes.multimodal.session import MultimodalSession

SENSELESS = 1e-2  # nats that rows of nothing must move logits by


@dataclass(frozen=True)
class LogitsBehindRows:
    """By number of the prompt, of those it takes and has room for. shared: behind transformers' rows. own:
    behind its own. senseless: of the first prompt, behind rows of nothing."""

    subject: str
    shared: Mapping[int, Returned]
    own: Mapping[int, Returned]
    senseless: Returned


def logits_behind(
    run: CheckedRun, subject: str, session: MultimodalSession, rows: Sequence[EncodedRows]
) -> LogitsBehindRows:
    """Everything an opened session is asked for. rows: its own, of each sample."""
    nothing = [each * 0 for each in rows]
    return LogitsBehindRows(
        subject,
        _given(run, subject, session, run.reference.rows[QUANTISED]),
        _given(run, subject, session, rows),
        given(session, run.reference.prompts[0], nothing),
    )


def judge_logits(run: CheckedRun, found: LogitsBehindRows) -> None:
    """The gates, and a comparison for each prompt."""
    # (1)
    _judge_shared(run, found)
    # (2)
    for number, each in found.own.items():
        _compare(run, found.subject, ORIGINAL, number, each)
    # (3)
    _judge_senseless(run, found)
    # (4)
    _judge_text_alone(run, found)


def _given(
    run: CheckedRun, subject: str, session: MultimodalSession, rows: Sequence[EncodedRows]
) -> dict[int, Returned]:
    found = {}
    for number, prompt in enumerate(run.reference.prompts):
        if not prompt.kinds <= run.taken:
            continue
        try:
            found[number] = given(session, prompt, rows)
        except NoRoomForCall as error:
            if number == 0:
                raise
            run.not_checked(f"{run.path}, {subject}, {prompt.name}: {error}.")
    return found


def _judge_shared(run: CheckedRun, found: LogitsBehindRows) -> None:
    kl = {
        number: float(_compare(run, found.subject, QUANTISED, number, each).kl.mean())
        for number, each in found.shared.items()
    }
    limit = run.driver.driver.lowering_limit + ROUNDING * kl.pop(len(run.reference.prompts) - 1)
    for number, measured in kl.items():
        where = f"{found.subject}: {run.reference.prompts[number].name}"
        run.gate(Gate(run.kind, run.encoder.decoder, where, MEAN_KL, at_most(measured, limit, NATS)))


def _compare(run: CheckedRun, subject: str, name: str, number: int, found: Returned) -> Agreement:
    """How logits behind one prompt agree with transformers', put down as a comparison."""
    reference, prompt = run.reference, run.reference.prompts[number]
    expected = reference.logits_of(name, number)[found.at]
    agreement = agree(expected, found.logits, prompt.tokens[prompt.at[found.at] + 1])
    run.findings.comparisons.append(
        Comparison(
            run.kind,
            run.encoder.decoder,
            subject,
            reference.weights[name].description,
            prompt.name,
            agreement.statistics(),
            spread_of(agreement.kl, along=False),
        )
    )
    return agreement


def _judge_senseless(run: CheckedRun, found: LogitsBehindRows) -> None:
    prompt, sensing = run.reference.prompts[0], found.own[0]
    apart = agree(sensing.logits, found.senseless.logits, prompt.tokens[prompt.at[sensing.at] + 1])
    verdict = at_least(float(apart.kl.mean()), SENSELESS, NATS)
    run.gate(Gate(run.kind, run.encoder.decoder, found.subject, run.modality.senseless_kl, verdict))


def _judge_text_alone(run: CheckedRun, found: LogitsBehindRows) -> None:
    """What takes rows says to text what the artifact for text says."""
    number = len(run.reference.prompts) - 1
    prompt, returned, driver = run.reference.prompts[number], found.shared[number], run.driver.driver
    with driver.open(run.directory, run.artifact) as session:
        expected = given_text(session, prompt)
    both = {int(at): row for row, at in enumerate(expected.at)}
    rows = [row for row, at in enumerate(returned.at) if int(at) in both]
    at = returned.at[rows]
    wanted = expected.logits[[both[int(each)] for each in at]]
    apart = agree(wanted, returned.logits[rows], prompt.tokens[prompt.at[at] + 1])
    verdict = at_most(float(apart.kl.mean()), driver.hand_over_limit, NATS)
    run.gate(Gate(run.kind, run.encoder.decoder, f"{found.subject}: text alone", MEAN_KL, verdict))
