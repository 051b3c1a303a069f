"""Tiny Gemma 3 releases, made once per scheme."""

from __future__ import annotations

from exporter.schemes import FP16, FP32, INT4_G32, INT4_G32_ZP, INT8_CHANNEL
from tests.tiny_releases import release_fixture
from tests.unit.exporter.lowering.onnx.tiny_releases import lowered

int8_release = release_fixture(lowered, INT8_CHANNEL)
int4_release = release_fixture(lowered, INT4_G32)
int4_zp_release = release_fixture(lowered, INT4_G32_ZP)
fp16_release = release_fixture(lowered, FP16)
fp32_release = release_fixture(lowered, FP32)
