"""Artifacts, records, settings: whatever is done to a file, its reader gives a value or one of our errors.

Not asserted: that all damage is noticed. In a matrix's bytes digests notice it; a changed name is a name.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.trial import damage


@pytest.mark.parametrize("kind", READERS)
def test_a_sound_file_is_read(kind: str, tmp_path: Path) -> None:
    reader = READERS[kind]
    reader.read(reader.write(tmp_path))


@pytest.mark.parametrize("kind", READERS)
def test_damage_ends_in_a_value_or_in_one_of_our_errors(kind: str, tmp_path: Path) -> None:
    damage(kind, READERS[kind], tmp_path)
