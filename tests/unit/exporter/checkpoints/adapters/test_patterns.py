"""Regular expressions that could run for ever, and those that mean what they mean to `re`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.adapters import patterns
from exporter.checkpoints.adapters.patterns import complaint, match, matches_whole
from exporter.errors import CheckpointError
from tests.unit.exporter.checkpoints.adapters.written_adapters import factors, opened, refused

# `re` is not done with the first two before the sun is.
ENDLESS = (r"((.*)*)*_proj(.*)*x", r"(([a-z._0-9]+)+)+!", r"((\w+)\.?)+\.?((\w+)\.?)+!")
NAMES = ("model.layers.11.self_attn.q_proj", "model.embed_tokens", "lm_head", "model.language_model.norm")


@pytest.mark.parametrize("pattern", ENDLESS)
@pytest.mark.parametrize("key", ["target_modules", "exclude_modules", "rank_pattern", "layers_pattern"])
def test_an_expression_that_re_never_ends_is_done_within_seconds(
    pattern: str, key: str, tmp_path: Path
) -> None:
    settings_of: dict[str, dict[str, Any]] = {
        "target_modules": {"target_modules": pattern},
        "exclude_modules": {"exclude_modules": pattern},
        "rank_pattern": {"rank_pattern": {pattern: 2}},
        "layers_pattern": {"layers_pattern": pattern, "layers_to_transform": [3]},
    }
    settings = settings_of[key]
    start = time.process_time()
    if key in ("target_modules", "layers_pattern"):  # it matches nothing
        refused(tmp_path, "put none there: peft would drop them", factors(), **settings)
    else:
        opened(tmp_path, factors(), **settings)
    assert time.process_time() - start < 20


def test_an_expression_that_takes_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    for hold in (match, matches_whole):
        with pytest.raises(CheckpointError, match=r"takes over 0\.05 s to hold against aaaa") as caught:
            hold(r"(?:(a|aa)+)+\1{5}b", "a" * 60)
        assert caught.value.then


@pytest.mark.parametrize(
    "pattern",
    [
        r".*\.(q_proj|v_proj|o_proj)",
        r"model\.layers\.\d{1,2}\.(mlp|self_attn)\.(up|q|gate)_proj",
        r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|k_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\..*)",
        r"^(?!.*layers\.1\.).*_proj",
        r"layers|embed_[a-z]+",
        r"(?i:MODEL)\.embed_tokens",
        "",
    ],
)
def test_expressions_of_trainers_mean_what_they_mean_to_re(pattern: str) -> None:
    assert complaint(pattern) is None
    for name in NAMES:
        assert matches_whole(pattern, name) is (re.fullmatch(pattern, name) is not None)
        ours, theirs = match(pattern, name), re.match(pattern, name)
        assert (ours and ours.span()) == (theirs and theirs.span())


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "is no regular expression"),
        (r"\p{L}_proj", "is no regular expression"),  # to `regex` it is one
        ("(?:q_proj){e<=2}", "has a brace or a bracket"),
        ("[[:alpha:]]_proj", "has a brace or a bracket"),
        (r"(?:(?:(?:q?){1000}){1000}){1000}_proj", "counts repetitions beyond"),
        (r"q{" + "9" * 5000 + "}", "counts repetitions beyond"),
        ("q" * 70_000, "is 70000 letters long"),
    ],
)
def test_what_is_not_one_to_re_or_another_to_regex_is_refused(
    pattern: str, why: str, tmp_path: Path
) -> None:
    refused(tmp_path, why, factors(), target_modules=pattern)
