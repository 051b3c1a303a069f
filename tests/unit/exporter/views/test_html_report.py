"""report.html: sound markup, nothing from elsewhere, and no text that can become markup."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.validation.report import Gate, GreedyRun, PathRun
from exporter.validation.verdict import Skipped
from exporter.validation.weight_origins import WeightOrigin
from exporter.views.html_report import STYLE, to_html
from exporter.views.short_names import short_names
from exporter.views.wording import MEANINGS
from tests.golden.parts import HOSTILE, PIXEL
from tests.golden.reports import REPORTS, failing, inconclusive, passing, seeing

VOID = {"meta"}
REFERENCES = ("src", "href", "action", "data", "poster", "srcset", "xlink:href")


class Page(HTMLParser):
    """What a browser would make of the page: elements, their attributes, and the text of each."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert self.open == [], "elements were left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def text_of(self, element: str) -> str:
        return " ".join(data for name, data in self.texts if name == element)

    @property
    def text(self) -> str:
        return "".join(data for name, data in self.texts if name != "style")


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_elements_nest_and_nothing_comes_from_elsewhere(make: type) -> None:
    page = Page(to_html(make()))
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.elements)
    references = [value for name, value in page.attributes if name in REFERENCES]
    assert all(value.startswith("#") for value in references), "within the page alone"
    assert {value[1:] for value in references} <= {value for name, value in page.attributes if name == "id"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    style = page.text_of("style")
    assert "url(" not in style
    inline = [value for _, value in page.attributes if "url(" in value]
    assert all(value.startswith("url(#") for value in inline), "a plot clips by its own shapes"
    assert "@import" not in style


def test_hostile_text_stays_text() -> None:
    page = Page(to_html(failing()))
    assert "script" not in page.elements
    assert page.text.count("<script>alert(1)</script>") == 25, (
        "left out, remark, type of a weight, greedy text, not checked, why a path failed, operation left "
        "over; gate and row of facts from far back, their short name, twice, and the first lines; a skip's "
        "reason there and with its gate; a device by name, and with its reason twice, its "
        "recipe; the memory table; scheme and part of a matrix and its scheme; an answer "
        "about a picture, and what takes none"
    )
    assert "\x1b" not in page.text
    assert 'gemma <3> & "co"' in page.text_of("h1")
    assert HOSTILE.replace("\x1b", "\ufffd") in page.text_of("li")


@settings(max_examples=25)
@given(st.text())
@example("\U0001d489" * 12 + "\ucca8" * 4)
def test_no_text_whatever_adds_an_element(text: str) -> None:
    def with_text(text: str) -> Page:
        run = replace(passing().runs[0], greedy=(GreedyRun(text, text, 64, 64),), arithmetic=text)
        gate = Gate("kernels", text, text, text, Skipped(text))
        device = replace(PIXEL, title=text, profile=text, recipe=text, reason=text)
        path = PathRun(text, text, text, text, Skipped(text))
        weights = (WeightOrigin("requantised", text, text, 2, text),)
        shown = replace(passing(), model=text, gates=(gate,), runs=(run,), paths=(path,))
        # Without the plots that are the same whatever the text.
        compared = tuple(replace(each, kl=replace(each.kl, means=())) for each in shown.comparisons)
        shown = replace(shown, comparisons=compared, weight_errors=())
        shown = replace(shown, devices=(device,), weights=weights, not_checked=(text,))
        shown = replace(shown, left_out=(text,), remarks=(text,))
        page = Page(to_html(shown))
        # What is shortened has a row of two cells that says it in full.
        rows = len(short_names(shown).legend())
        page.elements.subtract({"tr": rows, "td": 2 * rows})
        # Beside a longer label a plot's axis has other ticks.
        for name in ("g", "use", "path", "text"):
            del page.elements[name]
        return page

    assert with_text(text).elements == with_text("plain").elements


def test_the_verdict_comes_before_everything_else() -> None:
    for report, word in ((passing(), "Passed"), (failing(), "Failed"), (inconclusive(), "Inconclusive")):
        page = Page(to_html(report))
        titles = [data for name, data in page.texts if name == "h2"]
        body = page.text.partition(report.model)[2].partition(report.model)[2]  # behind title and heading
        assert body.index(word) < body.index("Devices")
        assert titles[:2] == ["Devices", "Five figures"]
        assert titles.index("Not checked") < titles.index("Gates")
        assert "No device took part" in body
        assert f'<div class="verdict {report.outcome}">' in to_html(report)


def test_every_gate_is_a_row_with_its_figures_or_its_reason() -> None:
    report = failing()
    page = Page(to_html(report))
    cells = page.text_of("td")
    marks = [f"{data.strip()} {page.texts[at + 1][1]}" for at, (_, data) in enumerate(page.texts[:-1])]
    assert marks.count("✓ passed") == 10 + 3, "gates, and domains once more"
    assert marks.count("✗ failed") == 8 + 2 + len(report.paths), "gates, domains, and both paths fail one"
    assert marks.count("– skipped") == 1
    for words in ("3.47 nats", "≤ 0.01 nats", "31.00 %", "≥ 96.00 %", "not a number", "no runtime"):
        assert words in cells


def test_every_path_is_a_row_with_what_computed_or_why_nothing_did() -> None:
    page = Page(to_html(passing()))
    cells, words = page.text_of("td"), page.text_of("span").split()
    assert words.count("executed") == words.count("skipped") == 1
    assert "not executed: the adapter SwiftShader has no fp16" in cells
    assert "1.1e-12" in cells


def test_every_kind_of_comparison_is_explained_where_it_is_used() -> None:
    text = Page(to_html(passing())).text
    for kind in ("files", "execution", "weights", "lowering", "quantisation", "end to end", "copying"):
        assert MEANINGS[kind].sentence in text


def test_there_are_plots_of_what_was_measured_and_none_of_what_was_not() -> None:
    titles = ("KL along the text", "KL as a distribution", "error by layer", "Memory by component.")
    page = Page(to_html(passing()))
    assert page.elements["svg"] == page.elements["figure"] == len(titles)
    assert all(title in page.text for title in titles)
    assert "svg" not in Page(to_html(inconclusive())).elements
    without = Page(to_html(replace(passing(), devices=(), weight_errors=())))
    assert without.elements["svg"] == 2


def test_a_plot_has_no_identifier_of_another() -> None:
    ids = [value for name, value in Page(to_html(passing())).attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 4


def test_what_was_not_checked_is_always_spoken_of() -> None:
    for each in passing().not_checked:
        assert each in Page(to_html(passing())).text_of("li")
    assert "One gate could not be checked: the reasons stand with the gates." in Page(
        to_html(inconclusive())
    ).text_of("li")


def test_an_empty_list_says_what_that_means() -> None:
    """Not that everything was checked: where there is a path, that it was executed."""
    whole = replace(passing(), paths=passing().paths[:1], not_checked=())
    assert "every execution path of these artifacts was executed" in Page(to_html(whole)).text
    alone = replace(whole, paths=())
    assert "no execution path but this machine's CPU" in Page(to_html(alone)).text


def test_greedy_text_is_shown_with_its_agreement_in_its_own_direction() -> None:
    html = to_html(failing())
    text = Page(html).text
    assert "پایتخت ایران تهران است." in text.replace("\n", " ")
    assert "All 64 greedy tokens" in text
    assert "3 of 64 greedy tokens" in text
    assert html.count('<blockquote dir="auto">') == 2
    assert "111 operations gave infinite or undefined results" in text


def test_a_run_says_what_its_cache_takes_and_how_much_of_that_is_for_nothing() -> None:
    assert to_html(passing()).count("75 MB, 47 MB of it outside sliding windows") == 2
    assert '<td data-label="KV cache" class="number">14 MB</td>' in to_html(passing())
    assert '<td data-label="KV cache" class="number">not known</td>' in to_html(failing())


def test_a_report_without_gates_is_no_pass() -> None:
    text = Page(to_html(replace(passing(), gates=()))).text
    assert "Inconclusive" in text
    assert "Nothing was checked" in text


def test_the_style_serves_dark_screens_phones_and_paper() -> None:
    css = STYLE.read_text(encoding="utf-8")
    for query in ("prefers-color-scheme: dark", "max-width: 48rem", "@media print"):
        assert query in css
    assert css.count("{") == css.count("}")


@pytest.mark.parametrize(
    "word",
    ["soft tokens", "audio encoder", "float twin", "longest route", "blind run", "deaf run", "decided"],
)
def test_a_word_of_the_report_that_is_nobody_elses_is_explained(word: str) -> None:
    page, _, words = to_html(seeing()).partition("<h2>Words</h2>")
    assert word in page.lower()
    assert f"<dt>{word}</dt>" in words
