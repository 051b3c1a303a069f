"""A checkpoint's small files, and adapters: whatever is done to one, there is a value or one of our errors.

Not asserted: that all damage is noticed. In a matrix's bytes digests notice it; a changed name is a name.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.readers import CHECKPOINTS
from tests.fuzz.trial import damage


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_sound_checkpoint_is_read(kind: str, tmp_path: Path) -> None:
    reader = CHECKPOINTS[kind]
    reader.read(reader.write(tmp_path))


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_damage_to_a_checkpoint_ends_in_a_value_or_in_one_of_our_errors(kind: str, tmp_path: Path) -> None:
    damage(kind, CHECKPOINTS[kind], tmp_path)
