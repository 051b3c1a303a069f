"""Plots: the same bytes again, the page's own colours, and figures that no picture can show."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np

from exporter.evaluation.kl_spread import spread_of
from exporter.validation.report import ValidationReport
from exporter.validation.weight_errors import WeightError
from exporter.views.plots.kl_plots import kl_along, kl_distribution
from exporter.views.plots.memory_plot import components_of, memory_by_component
from exporter.views.plots.weight_plot import weight_errors_by_layer
from exporter.views.report_plots import plots
from exporter.views.short_names import short_names
from tests.golden.parts import HOSTILE, IPHONE, PIXEL
from tests.golden.reports import passing

SVG = {"svg": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}


def drawn(svg: str) -> ET.Element:
    declared = " ".join(f'xmlns{"" if name == "svg" else f":{name}"}="{at}"' for name, at in SVG.items())
    return ET.fromstring(svg.replace("<svg ", f"<svg {declared} ", 1))


def texts(svg: str) -> list[str]:
    return ["".join(each.itertext()).strip() for each in drawn(svg).iterfind(".//svg:text", SVG)]


def test_the_same_figures_give_the_same_bytes_in_another_process() -> None:
    code = (
        "from tests.golden.reports import passing\n"
        "from exporter.views.report_plots import plots\n"
        "from exporter.views.short_names import short_names\n"
        "import hashlib\n"
        "drawn = ''.join(each.svg for each in plots(passing(), short_names(passing())))\n"
        "print(hashlib.sha256(drawn.encode()).hexdigest())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]


def test_every_colour_is_the_pages_and_no_text_is_a_picture() -> None:
    for plot in plots(passing(), short_names(passing())):
        assert not re.findall(r"#[0-9a-f]{6}\b", plot.svg), plot.title
        assert "var(--s1)" in plot.svg
        assert "var(--soft)" in plot.svg
        assert texts(plot.svg)


def test_the_legend_has_a_colour_for_each_line() -> None:
    for plot in plots(passing(), short_names(passing())):
        for colour, label in plot.legend:
            assert f"var(--s{colour})" in plot.svg, (plot.title, label)


def test_axes_are_labelled_in_powers_of_ten() -> None:
    spread = spread_of(np.geomspace(1e-6, 1.0, 200), along=True)
    assert {"10⁻⁶", "10⁰", "KL, nats"} <= set(texts(kl_distribution([spread])))
    assert "position in the text, tokens" in texts(kl_along([spread]))


def test_what_is_not_finite_or_not_there_leaves_a_gap() -> None:
    nowhere = spread_of(np.full(10, math.nan), along=True)
    nothing = spread_of(np.zeros(10), along=True)
    for svg in (kl_along([nowhere, nothing]), kl_distribution([nowhere, nothing])):
        assert "nan" not in svg.lower()
    errors = (WeightError(0, "q_proj", "int4-g32", math.nan), WeightError(1, "q_proj", "int4-g32", 0.1))
    assert "nan" not in weight_errors_by_layer(errors).lower()


def test_memory_is_stacked_with_the_budget_upright() -> None:
    svg = memory_by_component((PIXEL, IPHONE))
    assert {"pixel-8, litertlm", "pixel-8, onnx", "iphone-15-pro, coreml"} <= set(texts(svg))
    assert components_of((PIXEL, IPHONE)) == ("weights", "KV cache", "activations", "logits")
    assert svg.count("var(--failed)") >= 4, "a budget each, and one with the entitlement"


def test_a_device_of_any_name_is_text() -> None:
    for name in (HOSTILE, "$\\frac{1$", "ピクセル", "</svg>"):
        svg = memory_by_component((replace(PIXEL, profile=name),))
        assert "<script" not in svg
        assert len(drawn(svg)), "well formed"


def test_lines_that_lie_on_each_other_are_all_seen() -> None:
    spread = spread_of(np.geomspace(1e-6, 1.0, 200), along=True)
    for svg in (kl_along([spread] * 3), kl_distribution([spread] * 3)):
        dashes = re.findall(r"stroke-dasharray: ([\d.]+)[, ]+([\d.]+)[^\"]*stroke: var\(--s[23]\)", svg)
        dashes += re.findall(r"stroke: var\(--s[23]\)[^\"]*stroke-dasharray: ([\d.]+)[, ]+([\d.]+)", svg)
        assert len(dashes) == 2
        (first, _), (second, gap) = ((float(on), float(off)) for on, off in dashes)
        assert first > second, "the one behind shows"
        assert gap > first - second, "and so does what is behind both"


def test_what_has_no_colour_of_its_own_is_the_rest() -> None:
    memory = {f"part {at}": (at + 1) * 10**8 for at in range(12)}
    many = replace(PIXEL, artifacts=(replace(PIXEL.artifacts[0], memory=memory),))
    shown = components_of((many,))
    assert shown == (*(f"part {at}" for at in range(3, 12)), "the rest")
    assert "var(--s10)" in memory_by_component((many,))


def test_the_entitlement_is_explained_where_a_device_has_one() -> None:
    def sentence(report: ValidationReport) -> str:
        return next(each.sentence for each in plots(report, short_names(report)) if "Memory" in each.title)

    assert "increased-memory-limit" in sentence(passing())
    assert "dotted" not in sentence(replace(passing(), devices=(PIXEL,)))
