"""XNNPACK aborts the process where its packed copy of the weights finds no room: that is asked before."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.schemes import FP16, INT4_G32, INT8_CHANNEL, Scheme
from runtimes.litert.model_file import model_files
from runtimes.litert.session import LiteRtSession
from tests.fakes import silent
from tests.tiny import tiny_gemma3, tiny_gemma4_e2b
from tests.tiny_releases import lowering_order, quantized

Usage = namedtuple("Usage", ("total", "used", "free"))
TINY = {"Gemma 3": tiny_gemma3, "Gemma 4 E2B": tiny_gemma4_e2b}


@pytest.mark.parametrize("scheme", [FP16, INT8_CHANNEL, INT4_G32], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("family", TINY)
def test_the_packed_copy_is_never_larger_than_was_asked_for(
    family: str, scheme: Scheme, tmp_path: Path
) -> None:
    order = lowering_order(quantized(tmp_path, TINY[family](), scheme), tmp_path, chat_template=None)
    (scratch := tmp_path / "scratch").mkdir()
    (heads := tmp_path / "heads").mkdir()
    for artifact in LiteRtLowering().lower(order, tmp_path, silent):
        path = tmp_path / artifact.path
        with LiteRtSession.open(path, scratch=scratch) as session:
            session.decode(5)
            taken = sum(each.stat().st_blocks * 512 for each in scratch.rglob("*") if each.is_file())
        assert 0 < taken <= model_files(path, heads).packed


def test_a_session_that_finds_no_room_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = lowering_order(quantized(tmp_path, tiny_gemma3(), FP16), tmp_path, chat_template=None)
    artifact, _ = LiteRtLowering().lower(order, tmp_path, silent)
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 20, 0, 1 << 20))
    with pytest.raises(OSError, match=r"copy of the weights takes up to \d+ KiB, 1024") as refused:
        LiteRtSession.open(tmp_path / artifact.path, scratch=scratch)
    assert refused.value.errno == errno.ENOSPC
    assert str(refused.value.filename).startswith(str(scratch))
    assert list(scratch.iterdir()) == []
