"""Prompts as LiteRT-LM's own engine renders them from a bundle's template.

Not about what they are held against (`exporter.validation.template_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from litert_lm_builder.litertlm_header_schema_py_generated import AnySectionDataType
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.lowering.conversations import Conversation, Prompts
from exporter.lowering.litert.stand_in import write_stand_in
from exporter.lowering.vendor_prompts import vendor_prompts
from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.excerpt import plain_excerpt
from runtimes.litert.container import read_sections

PROCESS = "exporter.lowering.litert.engine_process"
STAND_IN = "prompts.litertlm"
OWN_TOOLS = "gemma3"  # the kind of model whose tools the engine writes as Python, whatever the template


def render_prompts(bundle: Path, conversations: Sequence[Conversation], scratch: Path) -> Prompts | None:
    """None for a bundle without a template. scratch: existing directory for the engine's files.

    Raises RuntimeUnavailable without litert-lm, ArtifactError for a bundle the engine does not open.
    """
    metadata = _metadata(bundle)
    if not metadata.jinja_prompt_template:
        return None
    if find_spec("litert_lm") is None:
        raise RuntimeUnavailable(
            "LiteRT-LM's engine is not installed, so no prompt was rendered; pip install litert-lm"
        )
    subject = f"LiteRT-LM {version('litert-lm')}"
    own_tools = metadata.llm_model_type.WhichOneof("model_type") == OWN_TOOLS
    asked = [each for each in conversations if not (each.tools and own_tools)]
    stand_in = scratch / STAND_IN
    write_stand_in(bundle, stand_in)
    try:
        place = {"bundle": str(stand_in), "scratch": str(scratch)}
        shown = iter(vendor_prompts(PROCESS, subject, place, asked))
    except ArtifactError as error:
        raise ArtifactError(f"{bundle}: {error}") from error
    finally:
        stand_in.unlink(missing_ok=True)
    return Prompts(
        subject,
        metadata.jinja_prompt_template,
        tuple(None if each.tools and own_tools else next(shown) for each in conversations),
        puts_bos=metadata.HasField("start_token"),
    )


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
