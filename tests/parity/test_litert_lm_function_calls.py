"""LiteRT-LM's engine with a tiny FunctionGemma that is made to call: the call it gives back, parsed.

Matrix: a call with strings, numbers and booleans x answered by the user's code, answered by a tool; and a
Gemma 4's. Not asserted: constrained decoding, which tool a real model would choose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import litert_lm
import pytest

from exporter.lowering.conversations import CONVERSATIONS, WEATHER
from exporter.lowering.litert.engine_prompts import render_prompts
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.schemes import INT8_CHANNEL
from tests.chat_templates import FUNCTION_GEMMA, GEMMA_4
from tests.fakes import silent
from tests.speaking import make_speak
from tests.tiny import RandomSource, name_unused, tiny_gemma3, tiny_gemma4_12b
from tests.tiny_releases import lowering_order, quantized_source

NEWLINE, END_OF_TURN = 6 + ord("\n"), 5  # the prompt ends with a line feed, a byte token
CALL, CLOSE, RESPONSE = 302, 303, 304
MARKERS = {
    300: "<start_function_declaration>",
    301: "<end_function_declaration>",
    CALL: "<start_function_call>",
    CLOSE: "<end_function_call>",
    RESPONSE: "<start_function_response>",
    305: "<end_function_response>",
    306: "<escape>",
}
# Each is said once, so that the token before says what comes next: the last begins with a second <escape>.
WORDS = {310: "call:get_weather{city:", 311: "Zü", 312: "rich", 313: "<escape>,days:3,wet:true}"}
CALLING = (CALL, 310, 306, 311, 312, 313, CLOSE, RESPONSE)
TOKENS_4 = {
    **WORDS,
    CALL: "<|tool_call>",
    CLOSE: "<tool_call|>",
    RESPONSE: "<|tool_response>",
    306: '<|"|>',
    313: '<|"|>,days:3,wet:true}',
}
ARGUMENTS = {"city": "Zürich", "days": 3, "wet": True}
CONTEXT, STOPS = 512, (1, END_OF_TURN, RESPONSE)


class Weather(litert_lm.Tool):  # type: ignore[misc]  # the package is untyped
    """Remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[Mapping[str, Any]] = []

    def get_tool_description(self) -> Mapping[str, Any]:
        return WEATHER

    def execute(self, param: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls.append(param)
        return {"rain": False}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calling_bundle(tmp_path_factory.mktemp("functions"), {**MARKERS, **WORDS})


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Iterator[litert_lm.Engine]:
    with opened(bundle) as engine:
        yield engine


def calling_bundle(
    directory: Path,
    tokens: Mapping[int, str],
    template: str = FUNCTION_GEMMA,
    source: RandomSource | None = None,
    prompt_end: int = NEWLINE,
) -> Path:
    """A bundle whose model answers any prompt with the call. tokens: put in the place of unused ones.

    prompt_end: the token behind which the call begins. source: a Gemma 3 where it is not given.
    """
    source = source or RandomSource(tiny_gemma3())
    make_speak(source, (prompt_end, *CALLING))
    order = lowering_order(
        quantized_source(directory, source, INT8_CHANNEL),
        directory,
        context=CONTEXT,
        stop_tokens=STOPS,
        chat_template=template,
    )
    for special in (True, False):
        named = {token: content for token, content in tokens.items() if (token in MARKERS) == special}
        name_unused(directory, named, special)
    (artifact,) = LiteRtLowering(frozenset({"litertlm"})).lower(order, directory, silent)
    return directory / artifact.path


def opened(bundle: Path) -> litert_lm.Engine:
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    backend = litert_lm.Backend.CPU(thread_count=2)
    return litert_lm.Engine(str(bundle), backend=backend, cache_dir=str(bundle.parent))


def conversation(engine: litert_lm.Engine, tool: Weather, **options: Any) -> litert_lm.Conversation:
    greedy = litert_lm.SamplerConfig(top_k=1, temperature=0.0)
    return engine.create_conversation(tools=[tool], sampler_config=greedy, max_output_tokens=20, **options)


def test_a_call_comes_back_with_its_name_and_arguments(engine: litert_lm.Engine) -> None:
    with conversation(engine, Weather(), automatic_tool_calling=False) as opened:
        message = opened.send_message("Is it raining?")
    (call,) = message.tool_calls
    assert (call.name, call.arguments) == ("get_weather", ARGUMENTS)
    assert str(message).strip() == ""  # nothing of the call is left as text


def test_the_tool_itself_is_called_with_the_arguments(engine: litert_lm.Engine) -> None:
    tool = Weather()

    class Once(litert_lm.ToolEventHandler):  # type: ignore[misc]  # the package is untyped
        """This model calls again whatever it is told."""

        def approve_tool_call(self, tool_call: Mapping[str, Any]) -> bool:
            return not tool.calls

        def process_tool_response(self, tool_response: Any) -> Any:
            return tool_response

    with conversation(engine, tool, tool_event_handler=Once()) as opened:
        opened.send_message("Is it raining?")
    assert tool.calls == [ARGUMENTS]


def test_tools_are_declared_as_the_template_does(bundle: Path, tmp_path: Path) -> None:
    (asked,) = (each for each in CONVERSATIONS if each.tools)
    prompts = render_prompts(bundle, [asked], tmp_path)
    assert prompts is not None
    (shown,) = prompts.rendered
    assert isinstance(shown, str)
    assert shown.startswith(
        "<start_of_turn>developer\n<start_function_declaration>declaration:get_weather{description:"
    )


def test_a_gemma_4s_calls_come_back_too(tmp_path: Path) -> None:
    source, thought_over = RandomSource(tiny_gemma4_12b()), 320
    path = calling_bundle(tmp_path, {**TOKENS_4, thought_over: "<channel|>"}, GEMMA_4, source, thought_over)
    with (
        opened(path) as engine,
        conversation(engine, Weather(), automatic_tool_calling=False) as plain,
    ):
        message = plain.send_message("Is it raining?")
    (call,) = message.tool_calls
    assert (call.name, call.arguments) == ("get_weather", ARGUMENTS)


def test_without_the_tokens_of_calls_a_call_is_only_text(tmp_path: Path) -> None:
    tokens = {**MARKERS, **WORDS, 306: "<quote>", 313: "<quote>,days:3,wet:true}"}
    # The engine writes tools of a Gemma 3 as Python of its own, which this template puts where it is.
    template = "{{ tools }}{% for m in messages %}{{ m['role'] }}{% endfor %}\n"
    with (
        opened(calling_bundle(tmp_path, tokens, template)) as engine,
        conversation(engine, Weather(), automatic_tool_calling=False) as plain,
    ):
        message = plain.send_message("Is it raining?")
    assert not message.tool_calls
    assert "call:get_weather{city:" in str(message)
