"""Prompts as onnxruntime-genai renders them from the template beside a graph.

Not about what they are held against (`exporter.validation.template_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from exporter.lowering.conversations import Conversation, Prompts
from exporter.lowering.onnx.genai_config import TEMPLATE_NAME
from exporter.lowering.vendor_prompts import vendor_prompts
from runtimes.errors import ArtifactError, RuntimeUnavailable

PROCESS = "exporter.lowering.onnx.genai_process"


def genai_prompts(directory: Path, conversations: Sequence[Conversation]) -> Prompts | None:
    """None for a directory without a template. The graph is not opened.

    Raises RuntimeUnavailable without onnxruntime-genai, ArtifactError for a tokenizer it does not open.
    """
    template = directory / TEMPLATE_NAME
    if not template.is_file():
        return None
    if find_spec("onnxruntime_genai") is None:
        raise RuntimeUnavailable(
            "onnxruntime-genai is not installed, so no prompt was rendered; pip install onnxruntime-genai"
        )
    subject = f"onnxruntime-genai {version('onnxruntime-genai')}"
    try:
        rendered = vendor_prompts(PROCESS, subject, {"directory": str(directory)}, conversations)
    except ArtifactError as error:
        raise ArtifactError(f"{directory}: {error}") from error
    return Prompts(subject, template.read_text(encoding="utf-8"), rendered, puts_bos=False)
