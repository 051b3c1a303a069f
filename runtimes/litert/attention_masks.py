"""`AttentionMasks`: what the masks of a bundle's text model are to be, read from its executor metadata.

LiteRT-LM reads the same section. A protocol buffer of two nested messages with three numbers in it
(`executor_metadata.proto`): read here without the packages that know it. Not about filling masks (`calls`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import ArtifactError

# ExecutorMetadata.llm_executor_metadata, LlmExecutorMetadata.attention_mask_settings
EXECUTOR_FIELD, SETTINGS_FIELD = 1, 3
FULL_FIELD, LOCAL_FIELD = 1, 2  # of AttentionMaskSettings
VISION_BIDIRECTIONAL = 3  # AttentionMaskType


@dataclass(frozen=True)
class AttentionMasks:
    """full_blocks, sliding_blocks: whether tokens of one image see each other in full layers, and in
    sliding ones. Windows are the graph's own."""

    full_blocks: bool = False
    sliding_blocks: bool = False

    @property
    def blocks(self) -> bool:
        """Whether a call has to hold whole images."""
        return self.full_blocks or self.sliding_blocks

    @property
    def two(self) -> bool:
        """Whether sliding layers have a mask of their own."""
        return self.full_blocks != self.sliding_blocks


CAUSAL = AttentionMasks()


def masks_of(section: bytes | None, path: Path) -> AttentionMasks:
    """section: of a bundle's executor metadata, None where it has none. Raises ArtifactError."""
    if section is None:
        return CAUSAL
    try:
        executor = dict(_fields(section)).get(EXECUTOR_FIELD, b"")
        settings = dict(_fields(_nested(executor))).get(SETTINGS_FIELD, b"")
        kinds = dict(_fields(_nested(settings)))
    except (ValueError, IndexError) as error:
        raise ArtifactError(
            f"{path}: what it says of masks is damaged ({error}); export or download it again"
        ) from error
    full, sliding = (kinds.get(field) == VISION_BIDIRECTIONAL for field in (FULL_FIELD, LOCAL_FIELD))
    return AttentionMasks(full, sliding)


def _nested(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        match key & 7:
            case 0:
                yield key >> 3, value
            case 2:
                if at + value > len(data):
                    raise ValueError("a field runs past the end")
                yield key >> 3, data[at : at + value]
                at += value
            case other:
                raise ValueError(f"wire type {other}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number without end")
