"""LiteRT-LM's engine in conversation with tiny bundles: the prompt it renders, and where it stops.

Matrix: a family of each way with messages (strings only, parts, Gemma 4's turns, with and without
embedders). Not asserted: what the models answer, tools, thinking.
"""

from __future__ import annotations

from pathlib import Path

import litert_lm
import pytest

from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.schemes import INT8_CHANNEL
from tests.fakes import silent
from tests.tiny import TINY_CONFIGS
from tests.tiny_releases import lowering_order, quantized

# As the families' own templates take a message's content.
STRING = "{{ message['content'] | trim }}"
PARTS = (
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for item in message['content'] %}{{ item['text'] | trim }}{% endfor %}{% endif %}"
)
TURN = "<start_of_turn>", "<end_of_turn>"
TURN_4 = "<|turn>", "<turn|>"
CONTEXT = 256


def template(content: str, turn: tuple[str, str]) -> str:
    begin, end = turn
    return (
        "{{ bos_token }}{% for message in messages %}"
        f"{begin}{{{{ message['role'] }}}}\n{content}{end}\n"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{begin}model\n{{% endif %}}"
    )


@pytest.mark.parametrize(
    ("family", "content", "turn"),
    [
        ("Gemma 1", STRING, TURN),
        ("Gemma 2", STRING, TURN),
        ("Gemma 3", PARTS, TURN),
        ("Gemma 4 E2B", PARTS, TURN_4),
        ("Gemma 4 12B", PARTS, TURN_4),
    ],
)
def test_a_conversation_is_rendered_as_the_template_says(
    family: str, content: str, turn: tuple[str, str], tmp_path: Path
) -> None:
    checkpoint = quantized(tmp_path, TINY_CONFIGS[family](), INT8_CHANNEL)
    order = lowering_order(
        checkpoint, tmp_path, context=CONTEXT, stop_tokens=(1, 5), chat_template=template(content, turn)
    )
    (artifact,) = LiteRtLowering(frozenset({"litertlm"})).lower(order, tmp_path, silent)
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    begin, end = turn
    with litert_lm.Engine(
        str(tmp_path / artifact.path),
        backend=litert_lm.Backend.CPU(thread_count=2),
        cache_dir=str(tmp_path),
    ) as engine:
        assert (engine.bos_token_id, engine.eos_token_ids) == (2, [[1], [5]])
        with engine.create_conversation(max_output_tokens=4) as conversation:
            message = {"role": "user", "content": [{"type": "text", "text": " Hello "}]}
            rendered = conversation.render_message_to_string(message)
            # The engine puts the first token before it itself: here it leaves bos_token empty.
            assert rendered == f"{begin}user\nHello{end}\n{begin}model\n"
            conversation.send_message(" Hello ")
            prompt = 1 + len(engine.tokenize(rendered))
            assert prompt < conversation.token_count <= prompt + 4
