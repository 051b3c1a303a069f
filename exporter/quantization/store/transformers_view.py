"""The quantised checkpoint as transformers' own loader reads it: an independent reading of our codes.

Not the reference of a comparison (`exporter.validation` streams that): this holds the whole model in
float32. transformers 5.23 cannot load a quantised embedding, so its file is not in the index and
`set_embeddings` puts it in after the loader is done. Nor can it load packed zero points: compressed-tensors
0.20 makes room for one number each, so those are put in as stored before the library unpacks them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn import Parameter

from exporter.errors import QuantizedCheckpointError
from exporter.models.text.spec import COLUMNS_NAME
from exporter.quantization.store.checkpoint import (
    IntegerMatrix,
    QuantizedCheckpoint,
    open_quantized,
    row_chunks,
)
from exporter.quantization.store.layout import ZERO_POINT, matrix_file_name
from exporter.quantization.store.loader_config import hidden_from_loader


def load_model(directory: Path) -> Any:
    """transformers' model of a quantised checkpoint, every weight dequantised to float32."""
    model = load_linears(directory)
    set_embeddings(model, open_quantized(directory))
    return model


def load_linears(directory: Path) -> Any:
    """The same, by transformers' loader and compressed-tensors' arithmetic alone.

    A quantised embedding has no defined values yet (`set_embeddings` gives it some). Raises
    QuantizedCheckpointError if the loader misses, or does not know, any other tensor.
    """
    # Here: they take seconds to import.
    from compressed_tensors.compressors import decompress_module
    from transformers import AutoModelForCausalLM

    checkpoint = open_quantized(directory)
    with _quietly():
        model, told = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are told, and refused below
        )
    packed = {f"{name}{ZERO_POINT}": name for name in _with_zero_points(checkpoint)}
    awaited = set(hidden_embeddings(checkpoint))
    if awaited and checkpoint.components["text"].spec.tied_embedding:
        awaited.add("lm_head.weight")
    problems = [f"{name} is missing" for name in sorted(set(told["missing_keys"]) - awaited)]
    # The loader reads whole files: it meets the vector of an equalised embedding, which is not its to know.
    problems += [f"{name} is unexpected" for name in sorted(set(told["unexpected_keys"]) - {COLUMNS_NAME})]
    mismatched = [message for message in told["mismatched_keys"] if message[0] not in packed]
    problems += [str(message) for message in (*mismatched, *told["error_msgs"])]
    if problems:
        raise QuantizedCheckpointError(
            directory, f"transformers' loader says: {'; '.join(problems)}", "quantise again"
        )
    for tensor, name in packed.items():
        with safe_open(directory / matrix_file_name(name), framework="pt") as file:
            stored = Parameter(file.get_tensor(tensor), requires_grad=False)
        model.get_submodule(name.removesuffix(".weight")).weight_zero_point = stored
    if (quantizer := getattr(model, "hf_quantizer", None)) is not None:
        for module in model.modules():
            decompress_module(module, leave_decompressed=False)
        quantizer.compressor.remove_decompression_hook(model)
    return model.eval()


def set_embeddings(model: Any, checkpoint: QuantizedCheckpoint) -> None:
    """Fill the embeddings the loader was not shown with their dequantised values, chunk by chunk."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in hidden_embeddings(checkpoint):
            matrix = checkpoint.components["text"].matrices[name]
            columns = checkpoint.components["text"].columns(name)
            for start, stop in row_chunks(matrix):
                parameters[name][start:stop] = torch.from_numpy(matrix.values(start, stop) * columns)


def hidden_embeddings(checkpoint: QuantizedCheckpoint) -> tuple[str, ...]:
    """Names of the embeddings that transformers' loader is not shown."""
    text = checkpoint.components["text"]
    return tuple(
        weight.name
        for weight in text.spec.weights()
        if weight.is_matrix and hidden_from_loader(weight, text.matrices[weight.name].scheme)
    )


def _with_zero_points(checkpoint: QuantizedCheckpoint) -> list[str]:
    """Names of the matrices with zero points that the loader is shown."""
    hidden = hidden_embeddings(checkpoint)
    return [
        name
        for name, matrix in checkpoint.components["text"].matrices.items()
        if isinstance(matrix, IntegerMatrix) and matrix.scheme.zero_points and name not in hidden
    ]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the loader's bars, and its warning that the embedding is missing: we know."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
