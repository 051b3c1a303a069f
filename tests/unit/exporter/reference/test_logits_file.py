from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import ReferenceModelError
from exporter.reference.logits_file import LogitsFile

LOGITS = np.arange(5 * 7, dtype=np.float32).reshape(5, 7)


def test_columns_and_rows_written_are_the_rows_read(tmp_path: Path) -> None:
    by_columns = LogitsFile.create(tmp_path / "columns", 5, 7)
    by_columns.write_columns(0, LOGITS[:, :4])
    by_columns.write_columns(4, LOGITS[:, 4:])
    by_rows = LogitsFile.create(tmp_path / "rows", 5, 7)
    by_rows.write_rows(2, LOGITS[2:])
    by_rows.write_rows(0, LOGITS[:2])
    for file in (by_columns, by_rows):
        assert np.array_equal(file.rows(1, 4), LOGITS[1:4])
        file.delete()
        assert not file.path.exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve disk space")
def test_a_disk_too_small_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ReferenceModelError, match=r"1024 MiB of logits.*No space left"):
        LogitsFile.create(tmp_path / "logits", 1024, 1 << 18)
    assert not (tmp_path / "logits").exists()


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    file = LogitsFile.create(tmp_path / "logits", 5, 7)
    os.truncate(file.path, 40)
    with pytest.raises(ReferenceModelError, match="shorter"):
        file.rows(0, 5)
