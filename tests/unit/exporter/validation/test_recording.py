"""Which calls are recorded of an artifact: a short prefill, decodes, chunks past the window, decodes."""

from __future__ import annotations

import pytest

from exporter.formats.family import RuntimeFamily
from exporter.formats.table import FAMILIES
from exporter.schemes import INT4_G32, INT8_CHANNEL
from exporter.validation.recording import LAST_DECODED, SHORT, plan_calls
from runtimes.session import PrefillLogits, SessionFacts


def facts(context: int, chunk: int, kept: PrefillLogits = "last") -> SessionFacts:
    return SessionFacts("none", "1", "fp32", 512, context, chunk, kept)


@pytest.mark.parametrize("available", [1, 2, 6, 9, 10, 25, 64, 300, 5000])
@pytest.mark.parametrize(
    ("context", "chunk", "window"), [(64, 16, 16), (2048, 128, 512), (96, 96, 0), (8, 8, 4)]
)
def test_calls_follow_each_other_within_text_and_context(
    available: int, context: int, chunk: int, window: int
) -> None:
    calls = list(plan_calls(facts(context, chunk), available, window))
    assert calls[0][1] == 0
    assert [start for _, start, _ in calls[1:]] == [end for _, _, end in calls[:-1]]
    assert calls[-1][2] <= min(available, context)
    assert all(end - start == 1 for kind, start, end in calls if kind == "decode")
    assert all(0 < end - start <= max(chunk, SHORT) for _, start, end in calls)
    assert calls[-1][0] == "decode", "LiteRT gives logits of decodes alone"


def test_a_text_that_is_long_enough_goes_past_the_window_and_no_further() -> None:
    calls = list(plan_calls(facts(4096, 128), 5000, 512))
    prefilled = max(end for kind, _, end in calls if kind == "prefill")
    assert 512 + 64 == prefilled == calls[-1][2] - LAST_DECODED
    assert sum(kind == "decode" for kind, _, _ in calls) >= LAST_DECODED + 6


def test_without_a_window_two_chunks_are_given() -> None:
    assert list(plan_calls(facts(4096, 128), 5000, 0))[-1][2] == 2 * 128 + LAST_DECODED


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_integers_of_four_bits_may_stray_further_than_others(family: RuntimeFamily) -> None:
    limits = family.replay
    assert limits.of([INT8_CHANNEL]) == limits.others
    assert limits.of([INT8_CHANNEL, INT4_G32]) == limits.of_4_bits
    assert limits.others.mean_kl <= limits.of_4_bits.mean_kl
