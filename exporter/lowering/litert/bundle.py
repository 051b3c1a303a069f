"""The `.litertlm` bundle: models with their tokenizer and what LiteRT-LM must know of them.

Not about the models (`bundle_models`), what is said of them (`metadata`), nor about the container's own
layout (`container_writing`).
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from litert_lm_builder.litertlm_header_schema_py_generated import AnySectionDataType

from exporter.errors import LoweringError
from exporter.lowering.litert.container_writing import SectionSource, SharedSection, write_container
from exporter.lowering.litert.metadata import ModelFacts, llm_metadata


@dataclass(frozen=True)
class BundleOrder:
    """What goes into a bundle beside the models. tokenizer: directory with tokenizer.json.

    identity: bytes that differ where the model differs; the bundle's uuid is made from them.
    """

    facts: ModelFacts
    tokenizer: Path
    identity: bytes


def write_bundle(order: BundleOrder, models: Sequence[SectionSource | SharedSection], out: Path) -> None:
    """Write the bundle. Raises LoweringError where there is no tokenizer.json."""
    tokenizer = _read_tokenizer(order.tokenizer / "tokenizer.json")
    metadata = llm_metadata(order.facts, tokenizer)
    # u64 size of the original, then zlib: the section's form in LiteRT-LM.
    compressed = len(tokenizer).to_bytes(8, "little") + zlib.compress(tokenizer)
    write_container(
        out,
        [
            SectionSource(AnySectionDataType.LlmMetadataProto, (), lambda file: _put(file, metadata)),
            SectionSource(AnySectionDataType.HF_Tokenizer_Zlib, (), lambda file: _put(file, compressed)),
            *models,
        ],
        uuid.uuid5(uuid.NAMESPACE_OID, (metadata + order.identity).hex()),
    )


def _read_tokenizer(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LoweringError(
            path, f"cannot be read ({error.strerror})", "give a checkpoint with a tokenizer"
        ) from error


def _put(file: BinaryIO, data: bytes) -> None:
    file.write(data)
