"""Names become nothing but text, whatever they hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from exporter.packaging.escaping import code, markdown, plain
from exporter.packaging.finishing import finish_release
from exporter.packaging.measured import MeasuredQuality
from exporter.packaging.release import Runnable
from tests.fakes import silent
from tests.jobs import a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3

HOSTILE = 'tiny+<img src=x onerror="alert(1)">\n\n# [Buy](http://x) `code` | \x1b[31m&amp;'


def test_a_plain_name_stays_as_it_is() -> None:
    assert (plain("gemma-3-270m"), code("int8"), markdown("gemma-3-270m")) == (
        *("gemma-3-270m", "`int8`"),
        "gemma-3-270m",
    )
    assert markdown("a_b") == r"a\_b"


def test_no_markup_survives() -> None:
    for escape in (plain, markdown, code):
        written = escape(HOSTILE)
        assert "<img" not in written
        assert "\n" not in written
        assert "\x1b" not in written
    assert r"\[Buy\]" in markdown(HOSTILE)
    assert "|" not in code(HOSTILE)
    assert code("a`b") == "<code>a&#96;b</code>"


def test_the_card_and_the_notice_of_a_hostile_name_hold_no_markup(tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma3(), name=HOSTILE)
    variant = a_variant("int8", ())
    plan = a_plan(source, replace(variant, recipe=replace(variant.recipe, name="<b>own</b>")))
    source.write_tokenizer(tmp_path)
    finish_release(tmp_path, source, plan, Runnable(()), MeasuredQuality("Good.", HOSTILE, (), ()), silent)
    for name in ("README.md", "NOTICE"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "&lt;img src=x" in text
        assert "<img" not in text
        assert "<b>" not in text
        assert "\n# [Buy]" not in text
        assert "\x1b" not in text
