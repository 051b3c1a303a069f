"""Prompts as LiteRT-LM's own engine renders them from a bundle's template.

Not about what they are held against (`exporter.validation.template_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from litert_lm_builder.litertlm_header_schema_py_generated import AnySectionDataType
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.lowering.conversations import Conversation, Prompts
from exporter.lowering.litert.stand_in import write_stand_in
from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.excerpt import plain_excerpt
from runtimes.litert.container import read_sections

STAND_IN = "prompts.litertlm"
OWN_TOOLS = "gemma3"  # the kind of model whose tools the engine writes as Python, whatever the template


def render_prompts(bundle: Path, conversations: Sequence[Conversation], scratch: Path) -> Prompts | None:
    """None for a bundle without a template. scratch: existing directory for the engine's files.

    Raises RuntimeUnavailable without litert-lm, ArtifactError for a bundle the engine does not open.
    """
    metadata = _metadata(bundle)
    if not metadata.jinja_prompt_template:
        return None
    try:
        import litert_lm
    except ImportError as error:
        raise RuntimeUnavailable(
            "LiteRT-LM's engine is not installed, so no prompt was rendered; pip install litert-lm"
        ) from error
    stand_in = scratch / STAND_IN
    write_stand_in(bundle, stand_in)
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    own_tools = metadata.llm_model_type.WhichOneof("model_type") == OWN_TOOLS
    try:
        with litert_lm.Engine(
            str(stand_in), backend=litert_lm.Backend.CPU(thread_count=1), cache_dir=str(scratch)
        ) as engine:
            rendered = tuple(
                None if each.tools and own_tools else _render(engine, each) for each in conversations
            )
    except RuntimeError as error:
        raise ArtifactError(
            f"{bundle}: LiteRT-LM cannot open its metadata ({plain_excerpt(error)})"
        ) from error
    finally:
        stand_in.unlink(missing_ok=True)
    return Prompts(
        f"LiteRT-LM {version('litert-lm')}", metadata.jinja_prompt_template, rendered, puts_bos=True
    )


def _render(engine: Any, conversation: Conversation) -> str:
    import litert_lm

    class Described(litert_lm.Tool):  # type: ignore[misc]  # the package is untyped
        def __init__(self, schema: Any) -> None:
            self.schema = schema

        def get_tool_description(self) -> Any:
            return self.schema

        def execute(self, param: Any) -> Any:
            raise NotImplementedError("only described, never called")

    *before, last = ({"role": role, "content": [_part(text)]} for role, text in conversation.messages)
    with engine.create_conversation(
        messages=before or None,
        tools=[Described(each) for each in conversation.tools] or None,
        extra_context=dict(conversation.variables) or None,
        max_output_tokens=1,
    ) as opened:
        return str(opened.render_message_to_string(last))


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _metadata(bundle: Path) -> Any:
    metadata = llm_metadata_pb2.LlmMetadata()
    for section in read_sections(bundle):
        if section.kind == AnySectionDataType.LlmMetadataProto:
            with bundle.open("rb") as file:
                file.seek(section.begin)
                data = file.read(section.end - section.begin)
            try:
                metadata.ParseFromString(data)
            except Exception as error:  # protobuf's own, which is not exported everywhere
                raise ArtifactError(
                    f"{bundle}: its metadata cannot be read ({plain_excerpt(error)})"
                ) from error
    return metadata
