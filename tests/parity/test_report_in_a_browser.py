"""report.html laid out by a headless Chromium: the answer within three screens, nothing wider than one.

Matrix: a phone and a laptop; a report of five devices and twelve languages that passes, one with the
longest verdict on a device, and the hostile one that fails. Not asserted: how it looks, which people judge.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from exporter.validation.report import ValidationReport
from exporter.views.html_report import to_html
from runtimes.onnx.transformers_js import BROWSERS
from tests.golden.parts import PIXEL
from tests.golden.reports import failing, passing

SCREENS = {"phone": (390, 844), "tablet": (800, 1180), "laptop": (1280, 800)}
# In a frame: a window of a headless Chromium has 500 pixels at least.
PAGE = """<!doctype html><body>
<iframe style="border: 0" width="{width}" height="{height}" srcdoc="{report}"></iframe>
<script>
document.querySelector("iframe").onload = event => {{
  const page = event.target.contentDocument, root = page.documentElement;
  const details = [...page.querySelectorAll("h2")].find(each => each.textContent === "Gates");
  const parts = [...page.querySelectorAll("td, th, p, li, dd, figure")];
  const words = page.createRange();
  const place = each => (words.selectNodeContents(each), words.getBoundingClientRect());
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  document.documentElement.dataset.found = JSON.stringify({{
    details: details.getBoundingClientRect().top,
    width: root.scrollWidth,
    window: root.clientWidth,
    beyond: parts.filter(
      each => !each.closest(".wide") && each.getBoundingClientRect().right > root.clientWidth + 1
    ).map(each => each.textContent),
    covered: [...page.querySelectorAll("table.devices tbody tr")].filter(
      each => meet(place(each.firstElementChild), place(each.querySelector(".verdict-cell")))
    ).map(each => each.textContent),
  }});
}};
</script>
"""


def chromium() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium on the PATH")
    return found


def laid_out(report: ValidationReport, screen: tuple[int, int], place: Path) -> dict[str, Any]:
    page = place / "framed.html"
    width, height = screen
    framed = PAGE.format(width=width, height=height, report=escape(to_html(report)))
    page.write_text(framed, encoding="utf-8")
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={place}/user",
    )
    said = subprocess.run(
        [chromium(), *flags, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    ).stdout
    found = re.search('data-found="([^"]*)"', said)
    assert found is not None, said[:2000]
    measured: dict[str, Any] = json.loads(unescape(found[1]))
    return measured


def large() -> ValidationReport:
    report = passing()
    devices = tuple(replace(PIXEL, title=f"Pixel {at} (Tensor G{at})") for at in range(5))
    named = [replace(each, name=f"{each.name}{at}") for at in range(3) for each in report.domains]
    return replace(report, devices=devices, domains=tuple(named[:12]))


def below_fidelity() -> ValidationReport:
    title, below = (
        "Any desktop or laptop PC",
        "int4 is rough, and the profile asks for calibrated or better",
    )
    return replace(passing(), devices=(replace(PIXEL, title=title, below_fidelity=below),))


def by_webassembly() -> ValidationReport:
    instead = tuple(replace(each, instead_of_gpu="by WebAssembly") for each in PIXEL.artifacts)
    return replace(passing(), devices=(replace(PIXEL, artifacts=instead), PIXEL))


@pytest.mark.parametrize("make", [large, below_fidelity, by_webassembly, failing])
@pytest.mark.parametrize("screen", SCREENS)
def test_the_answer_takes_three_screens_at_most_and_none_is_wider(
    screen: str, make: Any, tmp_path: Path
) -> None:
    width, height = SCREENS[screen]
    found = laid_out(make(), (width, height), tmp_path)
    assert found["window"] == width
    assert found["width"] <= width, "the page scrolls sideways"
    assert found["beyond"] == []
    assert found["covered"] == [], "a verdict lies on a device's name"
    assert found["details"] < 3 * height
