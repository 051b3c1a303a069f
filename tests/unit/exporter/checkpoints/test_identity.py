"""Which checkpoint a release or a quantised checkpoint is taken to be made from."""

from __future__ import annotations

import pytest

from exporter.checkpoints.identity import is_made_from

SEALED = {"config.json": "aa", "model.safetensors": "bb"}


@pytest.mark.parametrize(
    ("found", "same"),
    [
        (SEALED, True),
        (SEALED | {"added_tokens.json": "cc", "chat_template.json": "dd"}, True),  # not listed once
        (SEALED | {"special_tokens_map.json": "ee"}, True),
        (SEALED | {"model.safetensors": "ee"}, False),
        (SEALED | {"adapter.safetensors": "ff"}, False),
        ({"config.json": "aa"}, False),
    ],
)
def test_a_release_is_of_the_checkpoint_whose_digests_it_has(found: dict[str, str], same: bool) -> None:
    assert is_made_from(SEALED, found) is same


def test_a_file_that_was_listed_counts() -> None:
    listed = SEALED | {"added_tokens.json": "cc"}
    assert is_made_from(listed, listed)
    assert not is_made_from(listed, SEALED | {"added_tokens.json": "changed"})
    assert not is_made_from(listed, SEALED)
