"""How a sound is cut for an encoder of static calls, and what is refused. Not about rows (tests/parity)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtimes.errors import ArtifactError
from runtimes.litert.sound_encoder import LiteRtSoundEncoder, sound_parts
from runtimes.litert.sound_models import SoundCalls


@pytest.mark.parametrize("count", [1, 20, 21, 25, 26, 60])
@pytest.mark.parametrize("lookback", [0, 15])
def test_every_soft_token_comes_of_one_call_that_has_all_it_is_made_of(count: int, lookback: int) -> None:
    cut = list(sound_parts(count, 20, lookback))
    assert [token for each in cut for token in range(each.new, each.stop)] == list(range(count))
    for each in cut:
        assert each.stop - each.start <= 20
        assert each.start == max(0, each.new - lookback)


def test_a_sound_that_fits_is_one_call() -> None:
    assert len(list(sound_parts(20, 20, 15))) == 1
    assert len(list(sound_parts(60, 20, 0))) == 3


def test_what_a_caller_has_to_know_is_read_as_it_was_written() -> None:
    calls = SoundCalls(silence=1, lookback=181)
    assert SoundCalls.said_by(str(calls).encode()) == calls


@pytest.mark.parametrize("said", [None, b"", b"an encoder", b"-1 frames of silence before a sound"])
def test_a_file_that_says_nothing_wants_nothing(said: bytes | None) -> None:
    assert SoundCalls.said_by(said) == SoundCalls(0, 0)


def test_what_holds_no_encoder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=f"{re.escape(str(tmp_path))}: holds no audio encoder"):
        LiteRtSoundEncoder.open(tmp_path, 20)
