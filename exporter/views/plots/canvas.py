"""One SVG of matplotlib's: the same bytes for the same figures, in a page's own colours and letters.

matplotlib draws in colours of its own that stand for the page's; they become CSS variables, so that a
plot is light or dark as its page is. Imported where something is drawn, not before: that takes half a
second. Not about what is drawn (`kl_plots`, `weight_plot`, `memory_plot`).
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 5.0  # inches, 360 units: as many as a phone has pixels
LineStyle = str | tuple[float, tuple[float, float]]  # as matplotlib takes them
INK, SOFT, LINE, BAD = "#010203", "#010204", "#010205", "#010206"
SERIES = (
    *("#a1b201", "#a1b202", "#a1b203", "#a1b204", "#a1b205"),
    *("#a1b206", "#a1b207", "#a1b208", "#a1b209", "#a1b20a"),
)
DASH = 3.0  # widths of a line
_NAMES = {INK: "ink", SOFT: "soft", LINE: "line", BAD: "failed"} | {
    colour: f"s{at}" for at, colour in enumerate(SERIES, 1)
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same measures everywhere
    "font.size": 9.0,
    "text.parse_math": False,  # a device may be called anything
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
}


def drawn(name: str, draw: Callable[[Axes], None], height: float = 2.5) -> str:
    """An <svg> element. name: of the plot, of which a page has one: identifiers are made of it.
    height: inches."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), matplotlib.rc_context(_SETTINGS | {"svg.hashsalt": name}):
        # A name in another script is measured as boxes, and written as text that the reader's fonts have.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        draw(axes)
        written = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(written, metadata=nothing)
    return _of_page(written.getvalue().decode())


def line_styles(lines: int) -> tuple[LineStyle, ...]:
    """Of lines in the order they are drawn in. Where several lie on each other, each shows through the gaps
    of those before it: the first is whole, and each has a dash less than the one behind it."""
    dashed = ((0.0, (DASH * (lines - at), DASH * at)) for at in range(1, lines))
    return ("-", *dashed)


def decade(exponent: float, _position: object = None) -> str:
    """A tick's label: ten to the power of a whole number, and nothing at a tick between two."""
    whole = round(exponent)
    if not math.isclose(whole, exponent, abs_tol=1e-6):
        return ""
    return f"10{str(whole).translate(_SUPERSCRIPTS)}"


def _of_page(written: str) -> str:
    """Without what only a file of its own needs, and in the page's colours."""
    svg = written[written.index("<svg") :].strip()
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(
        r'<svg[^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1
    )
    svg = svg.replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    for colour, variable in _NAMES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
