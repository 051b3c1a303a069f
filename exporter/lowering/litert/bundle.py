"""The `.litertlm` bundle: models with their tokenizer and what LiteRT-LM must know of them.

Not about the models (`bundle_models`), nor about the container's own layout (`container_writing`).
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from litert_lm_builder.litertlm_header_schema_py_generated import AnySectionDataType
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.errors import LoweringError
from exporter.lowering.litert.container_writing import SectionSource, SharedSection, write_container

# Field of LlmModelType by our model_type; it picks LiteRT-LM's handling of prompts and tool calls.
MODEL_TYPES = {"gemma3_text": "gemma3", "gemma4_text": "gemma4"}
GENERIC_MODEL = "generic_model"


@dataclass(frozen=True)
class BundleRequest:
    """What goes into a bundle beside the models.

    identity: bytes that differ where the model differs; the bundle's uuid is made from them.
    """

    model_type: str
    tokenizer: Path
    bos_token: int
    stop_tokens: tuple[int, ...]
    chat_template: str | None
    context: int
    identity: bytes


def write_bundle(
    request: BundleRequest, models: Sequence[SectionSource | SharedSection], out: Path
) -> None:
    """Write the bundle. Raises LoweringError where there is no tokenizer.json."""
    metadata = _metadata(request)
    tokenizer = _compressed_tokenizer(request.tokenizer / "tokenizer.json")
    write_container(
        out,
        [
            SectionSource(AnySectionDataType.LlmMetadataProto, (), lambda file: _put(file, metadata)),
            SectionSource(AnySectionDataType.HF_Tokenizer_Zlib, (), lambda file: _put(file, tokenizer)),
            *models,
        ],
        uuid.uuid5(uuid.NAMESPACE_OID, (metadata + request.identity).hex()),
    )


def _metadata(request: BundleRequest) -> bytes:
    metadata = llm_metadata_pb2.LlmMetadata()
    metadata.start_token.token_ids.ids.append(request.bos_token)
    for token in request.stop_tokens:
        metadata.stop_tokens.add().token_ids.ids.append(token)
    if request.chat_template is not None:
        metadata.jinja_prompt_template = request.chat_template
    metadata.max_num_tokens = request.context
    kind = getattr(metadata.llm_model_type, MODEL_TYPES.get(request.model_type, GENERIC_MODEL))
    kind.SetInParent()  # an empty message, but present
    serialized: bytes = metadata.SerializeToString(deterministic=True)
    return serialized


def _compressed_tokenizer(path: Path) -> bytes:
    """u64 size of the original, then zlib: the section's form in LiteRT-LM."""
    try:
        plain = path.read_bytes()
    except OSError as error:
        raise LoweringError(
            path, f"cannot be read ({error.strerror})", "give a checkpoint with a tokenizer"
        ) from error
    return len(plain).to_bytes(8, "little") + zlib.compress(plain)


def _put(file: BinaryIO, data: bytes) -> None:
    file.write(data)
