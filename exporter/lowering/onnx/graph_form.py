"""`GraphForm`: what one ONNX format asks of the graph and puts around it.

    onnx       onnx/model.onnx            kernels of processors; what onnxruntime-genai looks for beside it
    onnx-web   onnx/model_quantized.onnx  operators of browsers; what transformers.js looks for around it

One decoder writes both; no other module asks which it is. Not about how a graph becomes files (`lowering`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.lowering.interface import LoweringOrder
from exporter.lowering.onnx.attention_operators import (
    AttentionInputs,
    AttentionOperators,
    KernelAttention,
)
from exporter.lowering.onnx.genai_config import copy_tokenizer, write_genai_config
from exporter.lowering.onnx.integer_operators import IntegerOperators, KernelOperators
from exporter.lowering.onnx.multimodal_graphs import GENAI_NAMES, MultimodalNames
from exporter.lowering.onnx.web_attention import WebAttention
from exporter.lowering.onnx.web_config import SUFFIXES, dtype_of, write_web_config
from exporter.lowering.onnx.web_images import web_multimodal_names
from exporter.lowering.onnx.web_operators import WebOperators
from exporter.quantization.store.checkpoint import StoredText
from runtimes.formats import Format

DIRECTORY = "onnx"


@dataclass(frozen=True)
class GraphForm:
    """metadata: what a driver wants to know beside what it wants to know of every graph. graph_name: a file
    of `DIRECTORY`. data_suffix: what a data file's name has beyond its graph's. multimodal: the graphs for
    images and sounds, None where the runtime has no class for them. put_around: writes the neighbours,
    given the order and the release."""

    format: Format
    integers: IntegerOperators
    attention: Callable[[AttentionInputs], AttentionOperators]
    metadata: Mapping[str, str]
    graph_name: str
    data_suffix: str
    multimodal: MultimodalNames | None
    put_around: Callable[[LoweringOrder, Path], None]


def form_of(format: Format, text: StoredText) -> GraphForm:
    """The form of a graph of a text decoder, in a format of ONNX."""
    if format == "onnx-web":
        dtype = dtype_of(text.matrices)
        name = f"model{SUFFIXES[dtype]}.onnx"
        return GraphForm(
            format,
            WebOperators(),
            WebAttention,
            {"cache": "grows"},
            name,
            "_data",
            web_multimodal_names(text.spec, SUFFIXES[dtype]),
            lambda order, release: write_web_config(order, dtype, release),
        )
    return GraphForm(
        format,
        KernelOperators(),
        KernelAttention,
        {},
        "model.onnx",
        ".data",
        GENAI_NAMES,
        _put_genai_files,
    )


def _put_genai_files(order: LoweringOrder, release: Path) -> None:
    write_genai_config(order, "model.onnx", release / DIRECTORY)
    copy_tokenizer(order, release / DIRECTORY)
