"""Prompts that end where an index goes wrong: which are tried, and that a wrong one fails by name."""

from __future__ import annotations

from pathlib import Path

from exporter.reference.special_prompt import special_text, special_tokens
from exporter.reference.texts import Texts
from exporter.validation.boundaries import OFFSETS, chosen_boundaries
from exporter.validation.report import Gate
from exporter.validation.verdict import Failed, Passed
from runtimes.session import Logits, Tokens
from tests.fakes import EagerSession
from tests.tiny import WINDOW, RandomSource, tiny_gemma3
from tests.unit.exporter.validation.whole_validations import Quantised, gates, quantised, release, request

__all__ = ["quantised", "release"]  # fixtures

PAD, UNKNOWN = 0, 3
ASKED = [(8 + by, f"{how}a chunk") for by, how in OFFSETS]


def test_what_returns_logits_is_given_each_length_by_prefill() -> None:
    chosen = chosen_boundaries(ASKED, 0, 100, 100).chosen
    assert [(each.prefilled, each.decoded, each.position) for each in chosen] == [
        (1, 0, 0),
        (9, 0, 8),
        (8, 0, 7),
        (7, 0, 6),
    ]
    assert chosen[1].name == "9 tokens prefilled, one more than a chunk"


def test_what_returns_none_gets_one_token_more_to_decode() -> None:
    chosen = chosen_boundaries(ASKED, 1, 100, 100).chosen
    assert [(each.prefilled, each.position) for each in chosen] == [(0, 0), (9, 9), (8, 8), (7, 7)]
    assert chosen[0].name == "nothing but the beginning of text"


def test_what_the_text_or_the_time_does_not_hold_is_left_out_and_kept_in_mind() -> None:
    found = chosen_boundaries([*ASKED, (200, "the window")], 0, 100, 20)
    assert [each.prefilled for each in found.chosen] == [1, 9, 8]
    assert (found.left_out, found.too_long) == ((7,), (200,))


def test_a_length_is_tried_once() -> None:
    assert len(chosen_boundaries([*ASKED, (8, "the window"), (1, "x"), (0, "y")], 0, 100, 100).chosen) == 4


def test_the_special_tokens_are_the_checkpoints_and_the_tokenizers() -> None:
    texts = Texts.of(RandomSource(tiny_gemma3()))
    special = special_tokens(texts, (PAD, 1, 5))
    assert special == (PAD, 1, 5, UNKNOWN, 4), "without <bos>, which begins every prompt"
    tokens = special_text(texts, special, 200).tolist()
    assert tokens[0] == texts.bos_token
    assert [token for token in tokens[1:] if token in special] == list(special)
    assert special_text(texts, special, 9).tolist() == tokens[:10], "as far as the cache holds it"


class OffByOneSession(EagerSession):
    """Answers a prompt of just the window's length as if it had been one token shorter, and takes `<pad>`
    for an unknown token."""

    def prefill(self, tokens: Tokens) -> Logits:
        logits = super().prefill(tokens)
        if len(tokens) == WINDOW:
            logits[-1] = logits[-2]
        return logits

    def _run(self, tokens: Tokens) -> Logits:
        tokens = tokens.copy()
        tokens[tokens == PAD] = UNKNOWN
        return super()._run(tokens)


def test_wrong_answers_at_one_length_and_to_special_tokens_fail_and_are_named(
    release: Path, quantised: Quantised
) -> None:
    report = request(release, quantised, session=OffByOneSession).report()
    length, special = gates(report, "boundaries")
    assert isinstance(length.verdict, Failed)
    assert "16 tokens prefilled, the window, the worst of 7 prompts" in length.subject
    assert isinstance(special.verdict, Failed)
    assert "a prompt with 5 special tokens" in special.subject
    others = [gate for gate in report.gates if gate.kind != "boundaries"]
    assert all(isinstance(gate.verdict, Passed) for gate in others), "nothing else sees it"


def test_an_artifact_without_prefill_logits_is_tried_too(release: Path, quantised: Quantised) -> None:
    report = request(release, quantised, prefill="none").report()
    found: list[Gate] = gates(report, "boundaries")
    assert len(found) == 2
    assert all(isinstance(gate.verdict, Passed) for gate in found)
