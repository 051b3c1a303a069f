"""What runs in the process that renders with LiteRT-LM's engine.

Not about the bundle it opens (`stand_in`) or who asks (`engine_prompts`).
"""

from __future__ import annotations

from typing import Any

from exporter.checkpoints.tokenizer.turn_end import messages_of
from exporter.lowering.vendor_prompts import serve_engine


def _open(order: Any) -> Any:
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    backend = litert_lm.Backend.CPU(thread_count=1)
    return litert_lm.Engine(order["bundle"], backend=backend, cache_dir=order["scratch"])


def _render(engine: Any, conversation: Any) -> str:
    import litert_lm

    class Described(litert_lm.Tool):  # type: ignore[misc]  # the package is untyped
        def __init__(self, schema: Any) -> None:
            self.schema = schema

        def get_tool_description(self) -> Any:
            return self.schema

        def execute(self, param: Any) -> Any:
            raise NotImplementedError("only described, never called")

    *before, last = messages_of(conversation["messages"], as_parts=True)
    with engine.create_conversation(
        messages=before or None,
        tools=[Described(each) for each in conversation["tools"]] or None,
        extra_context=dict(conversation["variables"]) or None,
        max_output_tokens=1,
    ) as opened:
        return str(opened.render_message_to_string(last))


if __name__ == "__main__":
    serve_engine(_open, _render)
