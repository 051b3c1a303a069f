"""Tokens until one that stops, the text of them as characters are whole, and what leaves no room."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from exporter.errors import UsageError
from exporter.running.generation import continued, require_room_after, text_of
from exporter.running.sampling import greedy
from runtimes.errors import ArtifactError
from tests.scripted_session import ScriptedSession
from tests.tiny import write_tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Bytes alone: every character beyond ASCII is several tokens."""
    place = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(place)
    return Tokenizer.from_file(str(Path(place) / "tokenizer.json"))


def test_it_goes_on_until_a_stop_token_which_is_not_given() -> None:
    session = ScriptedSession({13: 500})
    assert list(continued(session, [2, 10], greedy, (1, 500))) == [11, 12, 13]
    assert session.seen == [2, 10, 11, 12, 13]


def test_no_more_is_computed_than_is_taken() -> None:
    session = ScriptedSession()
    assert list(islice(continued(session, [2, 10], greedy, ()), 3)) == [11, 12, 13]
    assert session.seen == [2, 10, 11, 12]


def test_a_prompt_of_one_token_needs_no_prefill() -> None:
    assert list(islice(continued(ScriptedSession(), [2], greedy, ()), 2)) == [3, 4]


def test_it_ends_with_the_context() -> None:
    session = ScriptedSession(context=8)
    assert list(continued(session, [2, 10], greedy, ())) == [11, 12, 13, 14, 15, 16, 17]
    assert session.position == 8


def test_logits_that_are_not_finite_are_an_error_and_no_token() -> None:
    tokens = continued(ScriptedSession(broken_after=3), [2, 10], greedy, ())
    assert [next(tokens), next(tokens)] == [11, 12]
    with pytest.raises(ArtifactError, match="not finite at position 3"):
        next(tokens)


@pytest.mark.parametrize("count", [8, 9, 5000])
def test_a_prompt_that_fills_the_context_is_refused_with_what_fits(count: int) -> None:
    with pytest.raises(UsageError, match=f"has {count} tokens, .* shorten it to 7 tokens"):
        require_room_after(ScriptedSession(context=8), [2] * count)
    require_room_after(ScriptedSession(context=8), [2] * 7)


@pytest.mark.parametrize("text", ["plain", "Ça va, 世界 🙂👩‍👩‍👧", "", "\ufffd and on", "a\n\n b"])
def test_pieces_are_the_whole_text_and_no_half_characters(text: str, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    pieces = list(text_of(iter(ids), tokenizer))
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_never_become_a_character_are_written_all_the_same(tokenizer: Tokenizer) -> None:
    lone = tokenizer.token_to_id("<0xE4>")
    assert lone is not None
    plain = tokenizer.encode("ok", add_special_tokens=False).ids
    assert "".join(text_of([lone] * 40, tokenizer)) == "\ufffd" * 40
    assert "".join(text_of([*plain, lone], tokenizer)) == "ok\ufffd"
