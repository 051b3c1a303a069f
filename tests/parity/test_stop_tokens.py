"""Every format of a release is told the same stop tokens, read from the files that were written.

Matrix: {stops stated by generation_config.json, config.json's alone} x {chat template that ends an answer
with a token of its own, none}. Not asserted: that engines stop there (tests/parity/test_turns_end.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from litert_lm_builder.litertlm_header_schema_py_generated import AnySectionDataType
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.token_facts import read_token_facts
from exporter.lowering.coreml.tokenizer_beside import write_beside
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.lowering.onnx.genai_config import write_genai_config
from exporter.lowering.onnx.web_config import write_web_config
from exporter.schemes import INT8_CHANNEL
from runtimes.litert.container import read_sections
from tests.chat_templates import GEMMA_3
from tests.fakes import silent
from tests.parity.swift_generation import eos_token
from tests.tiny import VOCABULARY, tiny_gemma3, write_tiny_tokenizer
from tests.tiny_releases import lowering_order, quantized

IDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
EOS, END_OF_TURN, UNUSUAL = 1, 5, 9


def facts(directory: Path, stated: list[int] | None, template: str | None) -> TokenFacts:
    """What an export of such a checkpoint decides."""
    directory.mkdir()
    write_tiny_tokenizer(directory)
    if stated is not None:
        config = json.dumps({"eos_token_id": stated})
        (directory / "generation_config.json").write_text(config, encoding="utf-8")
    if template is not None:
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    return read_token_facts(CheckpointDirectory(directory), IDS, VOCABULARY)


def written(directory: Path, tokens: TokenFacts) -> dict[str, list[int]]:
    """File to the stop tokens that it states."""
    checkpoint = quantized(directory, tiny_gemma3(), INT8_CHANNEL)
    order = lowering_order(
        checkpoint,
        directory,
        stop_tokens=tokens.stop_tokens,
        chat_template=tokens.chat_template,
        turn_end=tokens.turn_end,
    )
    (release := directory / "release").mkdir()
    (bundle,) = LiteRtLowering(frozenset({"litertlm"})).lower(order, release, silent)
    for name in ("onnx", "coreml"):
        (release / name).mkdir()
    write_genai_config(order, "model.onnx", release / "onnx")
    write_web_config(order, "q8", release)
    write_beside(order, checkpoint, release / "coreml")
    return {
        "genai_config.json": _json(release / "onnx/genai_config.json")["model"]["eos_token_id"],
        "model.litertlm": litert_lm_stops(release / bundle.path),
        "config.json": _json(release / "config.json")["eos_token_id"],
        "generation_config.json": _json(release / "generation_config.json")["eos_token_id"],
        "coreml/config.json": _json(release / "coreml/config.json")["eos_token_id"],
    }


def litert_lm_stops(bundle: Path) -> list[int]:
    (section,) = (
        each for each in read_sections(bundle) if each.kind == AnySectionDataType.LlmMetadataProto
    )
    metadata = llm_metadata_pb2.LlmMetadata.FromString(bundle.read_bytes()[section.begin : section.end])
    return [token for each in metadata.stop_tokens for token in each.token_ids.ids]


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("stated", "template", "expected"),
    [
        (None, None, [EOS]),
        ([EOS], GEMMA_3, [EOS, END_OF_TURN]),
        ([UNUSUAL, EOS], GEMMA_3, [UNUSUAL, EOS, END_OF_TURN]),
    ],
)
def test_every_file_states_the_same_stops(
    stated: list[int] | None, template: str | None, expected: list[int], tmp_path: Path
) -> None:
    found = written(tmp_path, facts(tmp_path / "checkpoint", stated, template))
    assert found == dict.fromkeys(found, expected)
    # swift-transformers stops at one token, the tokenizer's own: the end of a turn where there are turns.
    alone = END_OF_TURN if template is not None else EOS
    assert eos_token(tmp_path / "release/coreml") == alone
