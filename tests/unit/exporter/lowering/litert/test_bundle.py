"""What LiteRT-LM is told in a bundle, read with litert-lm's own tools."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

from litert_lm_builder import litertlm_peek
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from runtimes.litert.container import read_sections
from tests.tiny_releases import CONTEXT
from tests.unit.exporter.lowering.litert.tiny_releases import TinyRelease

METADATA_KIND, TOKENIZER_KIND = 5, 6


def _section(path: Path, kind: int) -> bytes:
    (section,) = (section for section in read_sections(path) if section.kind == kind)
    return path.read_bytes()[section.begin : section.end]


def test_metadata_carries_tokens_template_context_and_model_type(int8_release: TinyRelease) -> None:
    metadata = llm_metadata_pb2.LlmMetadata()
    metadata.ParseFromString(_section(int8_release.path("litertlm"), METADATA_KIND))
    assert list(metadata.start_token.token_ids.ids) == [2]
    assert [list(token.token_ids.ids) for token in metadata.stop_tokens] == [[1], [5]]
    assert metadata.jinja_prompt_template == "{{ bos_token }}"
    assert metadata.max_num_tokens == CONTEXT
    assert metadata.llm_model_type.WhichOneof("model_type") == "gemma3"


def test_the_tokenizer_is_the_checkpoints(int8_release: TinyRelease) -> None:
    section = _section(int8_release.path("litertlm"), TOKENIZER_KIND)
    plain = zlib.decompress(section[8:])
    assert int.from_bytes(section[:8], "little") == len(plain)
    assert plain == (int8_release.directory.parent / "tokenizer.json").read_bytes()


def test_litert_lms_own_reader_finds_the_model(int8_release: TinyRelease, tmp_path: Path) -> None:
    said = io.StringIO()
    litertlm_peek.peek_litertlm_file(str(int8_release.path("litertlm")), str(tmp_path), said)
    (found,) = tmp_path.glob("*.tflite")
    assert found.read_bytes() == int8_release.path("tflite").read_bytes()
