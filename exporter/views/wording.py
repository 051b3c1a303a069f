"""The words and figures every view of a report shares: headline, meanings, quantities.

Not about any one view's layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

from exporter.byte_size import megabytes
from exporter.models.components import input_words
from exporter.planning.estimates import CacheSize
from exporter.validation.longest_routes import MEANING as OF_LONGEST_ROUTES
from exporter.validation.report import ArtifactRun, Gate, GreedyRun, Kind, ValidationReport
from exporter.validation.verdict import Failed, Passed, Skipped, Verdict
from exporter.validation.weight_origins import WeightOrigin

KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order a reader follows: from the bytes of the file to what a user gets."""

SHARE = "share"
"""Unit of a figure from 0 to 1, which people read in per cent."""
FEW, LEAST_SHARE = 1e-3, 1e-6  # below the one, two digits that say something; below the other, that it is


@dataclass(frozen=True)
class Meaning:
    """What a kind of comparison tells, for somebody who did not write it."""

    title: str
    sentence: str


OF_ROWS = (
    "What the file makes of {sample}s. The {tower}'s stored weights are read back. The rows it makes of "
    "{sample}s, the next tokens behind {sample}s at several places of a prompt, and the answers about "
    "{sample}s are held against transformers. Text without a {sample} must give what the file for text "
    "alone gives, and a {senseless} run must give something else. Where a browser prepares a {sample} and "
    "answers about it, rows and logits are held against those of the same file on this machine's CPU."
)

MEANINGS: dict[Kind, Meaning] = {
    "files": Meaning(
        "Files",
        "The release's files against the checksums in its manifest: nothing was changed, lost or added "
        "since it was written.",
    ),
    "execution": Meaning(
        "Execution",
        "The shipped file opens in its runtime, runs, gives finite numbers, and gives the same ones "
        "however the text is handed over.",
    ),
    "weights": Meaning(
        "Stored weights",
        "The integers and scales inside the written file, read back and held against the quantised "
        "checkpoint. Any difference is a packing bug.",
    ),
    "lowering": Meaning(
        "Lowering",
        "The file's own graph with its weights as floating point (its float twin), against transformers "
        "on the same quantised weights. It catches conversion bugs: a wrong mask, norm, cache or rotary "
        "embedding.",
    ),
    "degenerate": Meaning(
        "Logits that say something",
        "Predictions are not constant over the vocabulary and not the same whatever came before, in the "
        "references as in the shipped file. A file of zeros agrees perfectly with a model of zeros.",
    ),
    "boundaries": Meaning(
        "Boundaries",
        "Prompts whose length is where an index goes wrong: nothing but the beginning of text, a chunk, "
        "the sliding window, each also one shorter and longer, and special tokens. The shipped file "
        "answers as it does to the whole text.",
    ),
    "endurance": Meaning(
        "Endurance",
        "A thousand tokens decoded in a row: the shipped file strays no further at the end than at the "
        "beginning, and takes no more memory.",
    ),
    "kernels": Meaning(
        "Kernels",
        "The shipped file against its float twin: what the runtime's own rounding costs, "
        "for example activations in 8 bits.",
    ),
    "quantisation": Meaning(
        "Quantisation",
        "Transformers on the quantised weights against transformers on the original ones: the price of "
        "a smaller file, whatever the runtime.",
    ),
    "domain": Meaning(
        "Languages and domains",
        "Quantisation once more, over the beginning of a text in each language, of code and of chat: "
        "a mean over one text hides a language that suffers.",
    ),
    "end to end": Meaning(
        "End to end",
        "The shipped file, run as it will run, against transformers on the original checkpoint: what a "
        f"user gets. Where one figure stands for an artifact, it is {OF_LONGEST_ROUTES}.",
    ),
    "copying": Meaning(
        "Facts from far back",
        "Digits, names, dates and JSON keys asked for up to 2,000 tokens after they stood in the text. "
        "Where transformers on the same quantised weights is decided about a token, the shipped file must "
        "choose it too, on this machine's CPU and on each execution path. How many quantising may lose is "
        "the recipe's to say.",
    ),
    "template": Meaning(
        "Chat template",
        "Conversations as the runtime writes them into a prompt, against what transformers makes of the "
        "checkpoint's own template, byte for byte.",
    ),
    "path": Meaning(
        "Execution paths",
        "The shipped file run elsewhere than on this machine's CPU: on a GPU, in a browser, with a phone's "
        "instructions. Held against the float twin or this CPU's own logits; only paths that were "
        "executed have gates.",
    ),
    "range": Meaning(
        "Range",
        "A phone's GPU computes in half precision, which holds no number above 65,504. How many times "
        "larger the model's largest values on the texts could still be, in the size in which the file's "
        "graph keeps them.",
    ),
    "images": Meaning(
        "Images",
        OF_ROWS.format(sample="picture", tower="image tower", senseless="blind"),
    ),
    "sounds": Meaning(
        "Sounds",
        OF_ROWS.format(sample="sound", tower="audio encoder", senseless="deaf"),
    ),
}


def headline(report: ValidationReport) -> str:
    """The outcome in one sentence."""
    total = len(report.gates)
    failed = sum(isinstance(gate.verdict, Failed) for gate in report.gates)
    skipped = sum(isinstance(gate.verdict, Skipped) for gate in report.gates)
    gates = f"{total} gate{'' if total == 1 else 's'}"
    match report.outcome:
        case "passed":
            return f"{'The only gate holds' if total == 1 else f'All {gates} hold'}."
        case "failed":
            unchecked = f" {skipped} could not be checked." if skipped else ""
            return f"{failed} of {gates} {'does' if failed == 1 else 'do'} not hold.{unchecked}"
        case "inconclusive":
            if total == 0:
                return "Nothing was checked, so nothing is known."
            return f"{skipped} of {gates} could not be checked, which is not a pass."
        case _:
            assert_never(report.outcome)


def gates_by_kind(report: ValidationReport) -> Iterator[tuple[Kind, tuple[Gate, ...]]]:
    """The report's gates, grouped in reading order; kinds without a gate are left out."""
    for kind in KINDS:
        found = tuple(gate for gate in report.gates if gate.kind == kind)
        if found:
            yield kind, found


def verdict_word(verdict: Verdict) -> Literal["passed", "failed", "skipped"]:
    """ "passed", "failed" or "skipped"."""
    match verdict:
        case Passed():
            return "passed"
        case Failed():
            return "failed"
        case Skipped():
            return "skipped"
        case _:
            assert_never(verdict)


def bound(verdict: Passed | Failed) -> str:
    """The limit with its direction: "≤ 0.01 nats". The verdict itself tells which side was allowed."""
    limit = quantity(verdict.limit, verdict.unit)
    if not math.isfinite(verdict.measured) or verdict.measured == verdict.limit:
        return limit
    allowed_below = (verdict.measured < verdict.limit) == isinstance(verdict, Passed)
    return f"{'≤' if allowed_below else '≥'} {limit}"


def quantity(value: float, unit: str) -> str:
    """A figure with its unit, as people write it."""
    if not math.isfinite(value):
        return _not_finite(value)
    if unit == SHARE:
        return percent(value)
    if unit == "bytes":
        return size(value)
    return f"{number(value)} {unit.removesuffix('s') if value == 1 else unit}".rstrip()


def number(value: float) -> str:
    """Four significant digits; counts in full; an exponent only where it saves zeros."""
    if not math.isfinite(value):
        return _not_finite(value)
    if 1e3 <= abs(value) < 1e9 or value == int(value):
        return f"{value:,.0f}"
    if 1e-4 <= abs(value) < 1e3:
        return f"{value:.4g}"
    return _with_exponent(value, 3)


def plus_minus(value: float, error: float) -> str:
    """A figure and its error, whose second digit already says nothing."""
    if not (math.isfinite(value) and math.isfinite(error)):
        return number(value)
    said = f"{error:.1g}"
    return f"{number(value)} ± {_with_exponent(error, 1) if 'e' in said else said}"


def per_second(rate: float) -> str:
    """Tokens per second in three significant digits, without an exponent."""
    return f"{float(f'{rate:.3g}'):,.10g}"


def one_line(text: str) -> str:
    """Text on one line, with U+FFFD where a control character was: those move cursors and start colours."""
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """Text with its line breaks and tabs, and U+FFFD for any other control or unassigned character."""
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)


def percent(share: float) -> str:
    """0 to 1 as per cent; never rounded up to 100 %, nor down to nought."""
    if not math.isfinite(share):
        return _not_finite(share)
    if 0 < share < LEAST_SHARE:
        return f"< {100 * LEAST_SHARE:.4f} %"
    if 0 < share < FEW:
        return f"{100 * share:.2g} %"
    text = f"{100 * share:.2f}"
    if share < 1 and float(text) >= 100:
        text = "99.99"
    return f"{text} %"


def size(value: float) -> str:
    """Bytes as a plan says them."""
    return megabytes(value) if math.isfinite(value) else _not_finite(value)


def left_out_sentence(report: ValidationReport) -> str | None:
    """What of the checkpoint is not in the release, None where all of it is."""
    if not report.left_out:
        return None
    inputs = input_words(images=report.images is not None, sounds=report.sounds is not None)
    held = "The text model only" if inputs is None else f"Text{inputs}"
    return f"{held}. Left out of the checkpoint: {'; '.join(report.left_out)}."


def checkpoint_sentences(report: ValidationReport) -> tuple[str, ...]:
    """What is not in the release, and how the checkpoint was read, a sentence each."""
    left_out = left_out_sentence(report)
    return (*(() if left_out is None else (left_out,)), *report.remarks)


def not_checked_sentences(report: ValidationReport) -> tuple[str, ...]:
    """What nobody should read into a pass; where there is nothing, what that means."""
    if report.not_checked:
        return report.not_checked
    if report.paths:
        return ("Every gate was judged, and every execution path of these artifacts was executed.",)
    return ("Every gate was judged; these artifacts have no execution path but this machine's CPU.",)


def weight_sentences(report: ValidationReport) -> tuple[str, ...]:
    """How the weights came to be what is stored, a sentence for each kind."""
    return tuple(_weight_sentence(origin) for origin in report.weights)


def _weight_sentence(origin: WeightOrigin) -> str:
    match origin.how:
        case "taken over":
            done = f"taken over unchanged from {origin.dtype}, as {origin.scheme}"
        case "dequantised" | "quantised" | "requantised":
            done = f"{origin.how} from {origin.dtype} to {origin.scheme}"
        case "kept as floats":
            done = f"stored as {origin.scheme}, from {origin.dtype}"
        case _:
            assert_never(origin.how)
    why = "" if origin.refusal is None else f" ({origin.refusal})"
    return f"{number(origin.matrices)} {'matrix' if origin.matrices == 1 else 'matrices'} {done}{why}."


def cache_words(cache: CacheSize | None) -> str:
    """What a KV cache takes, and how much of that is for nothing."""
    if cache is None:
        return "not known"
    if not cache.outside_windows:
        return size(cache.bytes)
    return f"{size(cache.bytes)}, {size(cache.outside_windows)} of it outside sliding windows"


def greedy_sentence(run: GreedyRun) -> str:
    """How far an artifact's own continuation is the reference's too."""
    if run.agreed == run.tokens:
        return f"All {run.tokens} greedy tokens are the reference's own choice."
    if run.agreed == 0:
        return f"The reference would not choose even the first of the {run.tokens} greedy tokens."
    same = f"{run.agreed} of {run.tokens} greedy tokens"
    return f"The reference would choose the first {same}, and not the next."


def non_finite_sentence(run: ArtifactRun) -> str | None:
    """That something inside a graph is not finite, None where nothing is."""
    if not run.non_finite_operations:
        return None
    count = number(run.non_finite_operations)
    return f"{run.artifact}: {count} operations gave infinite or undefined results."


def _with_exponent(value: float, digits: int) -> str:
    """1.2e-6, not 1.20e-06."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"


def _not_finite(value: float) -> str:
    return "not a number" if math.isnan(value) else "infinite"
