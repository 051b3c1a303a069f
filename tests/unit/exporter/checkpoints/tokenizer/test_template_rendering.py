"""Templates are rendered as transformers renders them, and none takes the export with it."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import pytest

from exporter import asked_process
from exporter.asked_process import Limits, ask
from exporter.checkpoints.tokenizer import template_rendering
from exporter.checkpoints.tokenizer.template_rendering import Unrendered, read_answers, render_each
from exporter.checkpoints.tokenizer.turn_end import render_turn
from exporter.errors import TokenizerError
from tests.chat_templates import FUNCTION_GEMMA, TEMPLATES

CONTEXT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Is it <hot>, 世界?"}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "<é>", "parameters": {}}}],
    "documents": None,
    "add_generation_prompt": True,
    "bos_token": "<bos>",
}
HOSTILE = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x",
    "a long string": "{{ 'a'*10**9 }}{{ 'a'*10**9 }}",
    "a long string by a filter": "{{ '%2000000000s'|format(messages[0].content) }}",
    "much text": "{% for i in range(99999) %}{{ 'a' * 99 }}{% endfor %}",
    "a loop over a string": "{% for i in 'a'*9999999 %}{% for j in 'a'*9999999 %}{% endfor %}{% endfor %}",
    "endless calls": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "a great power": "{{ 10**(10**9) }}",
    "no Jinja": "{% if x %}",
    "half a character": "{{ '\\ud800' }}",
}


@pytest.mark.parametrize("name", [*TEMPLATES, "FunctionGemma"])
def test_a_template_renders_as_in_transformers(name: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = {**TEMPLATES, "FunctionGemma": FUNCTION_GEMMA}[name]
    rest = {key: value for key, value in CONTEXT.items() if key not in ("messages", "documents")}
    try:
        (expected,), _ = render_jinja_template(
            conversations=[CONTEXT["messages"]], chat_template=template, **rest
        )
    except Exception:  # which of its errors does not matter
        expected = None
    (shown,) = render_each(template, [CONTEXT])
    assert (shown if isinstance(shown, str) else None) == expected


@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_beyond_all_bounds_is_refused_soon(name: str, tmp_path: Path) -> None:
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TokenizerError, match="cannot render a user's question") as refused:
        render_turn(HOSTILE[name], {}, {}, tmp_path)
    assert len(str(refused.value)) < 600
    assert time.monotonic() - began < 20  # 3 s of processor time, or 10 s on a busy machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_the_conversation_at_which_rendering_stops_is_blamed() -> None:
    template = (
        "{% if loop_please %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
        "{% endif %}x"
    )
    shown = render_each(template, [{}, {"loop_please": True}, {}])
    assert shown[0] == "x"
    assert isinstance(shown[1], Unrendered)
    assert shown[1].why.startswith("took longer than")
    assert shown[2] == Unrendered("stopped", "was not tried after that")


def test_a_template_that_refuses_a_plain_question_itself_is_no_broken_one(tmp_path: Path) -> None:
    found = render_turn("{{ raise_exception('give languages') }}", {}, {}, tmp_path)
    assert found.failure == "give languages"


CHILD = """
import os, sys, time
from exporter.asked_process import reply_to

def answer(order):
    yield {"rendered": "first"}
    print("about to end", flush=True)
    %s
    yield {"rendered": "second"}

reply_to(answer)
"""


@pytest.mark.parametrize(
    ("deed", "end", "hung"),
    [
        ("os.abort()", "ended with SIGABRT, having printed last: about to end", False),
        ("os._exit(3)", "ended with exit code 3, having printed last: about to end", False),
        ("time.sleep(60)", "took longer than 3 s, having printed last: about to end", True),
        ("os.write(2, b'\\xff\\x82'); os.abort()", "ended with SIGABRT, having printed last: ��", False),
        ("pass", None, False),
    ],
)
def test_a_process_that_ends_leaves_its_answers_and_last_words(
    deed: str, end: str | None, hung: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deeds.py").write_text(CHILD % deed, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answers = ask("deeds", {}, Limits(seconds=3))
    assert answers.found[0] == {"rendered": "first"}
    assert (answers.end, answers.hung) == (end, hung)
    second = read_answers(answers, 2)[1]
    assert second == ("second" if end is None else Unrendered("stopped", end))


def test_the_process_runs_the_code_that_asks_it() -> None:
    assert Path(asked_process.__file__).resolve() == asked_process.ROOT / "exporter" / "asked_process.py"


def test_modules_in_the_users_directory_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jinja2.py").write_text("raise SystemExit(9)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    template_rendering._render_each.cache_clear()
    assert render_each("{{ 1 + 1 }}", [{}]) == ("2",)
