"""Vendors' engines are asked in processes of their own: what they do there is no end of the export."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.checkpoints.tokenizer.template_rendering import Unrendered
from exporter.lowering import vendor_prompts as module
from exporter.lowering.conversations import CONVERSATIONS
from exporter.lowering.vendor_prompts import vendor_prompts
from runtimes.errors import ArtifactError

ENGINE = """
import os, time
from contextlib import nullcontext
from exporter.lowering.vendor_prompts import serve_engine

def opened(order):
    if order["deed"] == "refuse":
        raise RuntimeError("no such file")
    if order["deed"] == "abort at once":
        os.abort()
    return nullcontext(order["deed"])

def render(deed, conversation):
    print("noise of native code", flush=True)
    if conversation["name"] == "two turns":
        if deed == "abort":
            os.abort()
        if deed == "hang":
            time.sleep(60)
        if deed == "no text":
            b"\\x82".decode()
    return conversation["name"]

serve_engine(opened, render)
"""
NAMES = [each.name for each in CONVERSATIONS]
AT = NAMES.index("two turns")


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "an_engine.py").write_text(ENGINE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def asked(deed: str) -> list[str | Unrendered]:
    return list(vendor_prompts("an_engine", "Engine 1.0", {"deed": deed}, CONVERSATIONS))


def test_prompts_come_in_the_order_asked_whatever_is_printed_between() -> None:
    assert asked("work") == NAMES


def test_a_crash_is_that_conversations_alone() -> None:
    shown = asked("abort")
    printed = "ended with SIGABRT, having printed last: noise of native code"
    assert shown[AT] == Unrendered("stopped", printed)
    assert shown[:AT] + shown[AT + 1 :] == NAMES[:AT] + NAMES[AT + 1 :]


def test_what_is_no_text_is_that_conversations_alone() -> None:
    shown = asked("no text")
    found = shown[AT]
    assert isinstance(found, Unrendered)
    assert found.why.startswith("UnicodeDecodeError: 'utf-8' codec can't decode byte 0x82")
    assert shown[:AT] + shown[AT + 1 :] == NAMES[:AT] + NAMES[AT + 1 :]


def test_after_a_hang_nothing_more_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 5.0)
    shown = asked("hang")
    assert shown[:AT] == NAMES[:AT]
    assert shown[AT] == Unrendered(
        "stopped", "took longer than 5 s, having printed last: noise of native code"
    )
    assert {each.why for each in shown[AT + 1 :] if isinstance(each, Unrendered)} == {
        "was not tried after that"
    }


@pytest.mark.parametrize(
    ("deed", "why"), [("refuse", "no such file"), ("abort at once", "ended with SIGABRT")]
)
def test_an_engine_that_does_not_open_is_an_artifact_that_cannot_be_read(deed: str, why: str) -> None:
    with pytest.raises(ArtifactError, match=f"Engine 1.0 cannot open it .{why}"):
        asked(deed)
