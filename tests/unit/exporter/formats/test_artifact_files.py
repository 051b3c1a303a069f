"""Which files are an artifact's."""

from __future__ import annotations

from pathlib import Path

from exporter.formats.artifact_bytes import artifact_bytes, artifact_files


def test_a_graph_s_data_files_are_its_own_or_those_it_points_into(tmp_path: Path) -> None:
    sizes = {
        "model_quantized.onnx": 1,
        "embed_tokens_quantized.onnx_data": 20,
        "decoder_model_merged_quantized.onnx_data": 300,
        "vision_encoder_quantized.onnx": 4_000,
        "vision_encoder_quantized.onnx_data": 50_000,
    }
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert artifact_bytes(tmp_path / "model_quantized.onnx") == 321
    assert {each.name for each in artifact_files(tmp_path / "vision_encoder_quantized.onnx")} == {
        "vision_encoder_quantized.onnx",
        "vision_encoder_quantized.onnx_data",
    }
    assert len(artifact_files(tmp_path)) == len(sizes)
