"""What ONNX Runtime holds of a device's memory: on a CPU, in a browser, on a GPU by CUDA.

CPU: fitted to the driver here, opened on Linux, its caches filled (`benchmarks/memory.py`). CUDA and
WebGPU: nobody here has measured them. Not about what an export takes of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.byte_size import MIB
from exporter.formats.held_memory import HeldMemory, OpenedModel
from exporter.models.text.spec import WeightSpec
from exporter.schemes import FP32, IntegerScheme

BLOCK = 256  # inputs that share a repeated scale, of a scheme with one for each row, at most
BLOCK_FACTS = 8  # bytes a packed block has beside its codes: a scale and a sum
LIBRARIES, INTERPRETER = 45 * MIB, 36 * MIB
MLP_ROWS = 10  # of the widest activations: both parts of inputs that are multiplied in two
GROWING_COPIES = 2  # of a cache beside the one that is given: what is returned, and what is freed late
CUDA_RUNTIME = 500 * MIB  # a context and cuBLAS' workspace: a rule of thumb
GRAPH = MIB // 4


def held_by_onnx(opened: OpenedModel) -> tuple[HeldMemory, ...]:
    """MatMulNBits packs every matrix it multiplies by into memory of the process; of the file it keeps the
    table that rows are looked up in. Attention keeps no scores."""
    if opened.format == "onnx-web":
        return _in_a_browser(opened)
    if opened.accelerator == "GPU":
        return _by_cuda(opened)
    tables = sum(opened.stored(each) for each in opened.tables)
    return (
        HeldMemory("weights (packed)", sum(_packed(opened, each) for each in opened.multiplied), "private"),
        HeldMemory("weights (mapped)", tables + opened.rope_bytes, "file"),
        HeldMemory("KV cache", opened.cache_bytes, "private"),
        HeldMemory("activations", _activations(opened), "private"),
        HeldMemory("logits", _logits(opened), "private"),
        opened.tokenizer,
        HeldMemory("runtime", INTERPRETER, "private"),
        HeldMemory("runtime (mapped)", LIBRARIES, "file"),
    )


def written_for_onnx(opened: OpenedModel) -> int:
    """Scales by row are repeated for every block, in fp32, with a zero point each."""
    if opened.format == "onnx-web":
        return sum(files_for_a_browser(opened).values()) + GRAPH
    stored = sum(_stored(opened, each) for each in opened.spec.weights() if each.is_matrix)
    return stored + opened.vectors_bytes + opened.rope_bytes + GRAPH


def files_for_a_browser(opened: OpenedModel) -> Mapping[str, int]:
    """Data files, as transformers.js reads each into one buffer. Where the client places rows of images and
    sounds, tables are in a file of their own, a tied embedding in both (docs/web.md)."""
    matrices = [each for each in opened.spec.weights() if each.is_matrix]
    beside = opened.vectors_bytes + opened.rope_bytes
    if not opened.rows:
        return {"the data file": sum(_stored(opened, each) for each in matrices) + beside}
    decoder = [each for each in matrices if each not in opened.tables or each in opened.multiplied]
    return {
        "embed_tokens' data file": sum(_stored(opened, each) for each in opened.tables),
        "decoder_model_merged's data file": sum(_stored(opened, each) for each in decoder) + beside,
    }


def _in_a_browser(opened: OpenedModel) -> tuple[HeldMemory, ...]:
    """Linear memory alone: a tokenizer is JavaScript's. A session for each data file, all open at once."""
    return (
        HeldMemory("weights", sum(files_for_a_browser(opened).values()), "private"),
        HeldMemory("KV cache", opened.cache_bytes, "private"),
        HeldMemory("KV cache (while it grows)", GROWING_COPIES * opened.cache_bytes, "private"),
        HeldMemory("activations", _activations(opened), "private"),
        HeldMemory("logits", _logits(opened), "private"),
        HeldMemory("runtime", INTERPRETER, "private"),
    )


def _by_cuda(opened: OpenedModel) -> tuple[HeldMemory, ...]:
    weights = sum(_stored(opened, each) for each in opened.spec.weights() if each.is_matrix)
    return (
        HeldMemory("weights", weights + opened.vectors_bytes + opened.rope_bytes, "gpu"),
        HeldMemory("KV cache", opened.cache_bytes, "gpu"),
        HeldMemory("activations", _activations(opened), "gpu"),
        HeldMemory("logits", _logits(opened), "gpu"),
        HeldMemory("runtime", CUDA_RUNTIME, "gpu"),
        opened.tokenizer,
    )


def _blocks(inputs: int) -> int:
    block = BLOCK
    while inputs % block:
        block //= 2
    return inputs // block


def _packed(opened: OpenedModel, weight: WeightSpec) -> int:
    """Codes with an fp32 scale and sum for each block; floats as they are multiplied, in fp32."""
    rows, inputs = weight.shape
    match opened.scheme(weight):
        case IntegerScheme(bits=bits, group=group):
            blocks = _blocks(inputs) if group is None else inputs // group
            return rows * (inputs * bits // 8 + BLOCK_FACTS * blocks)
        case _:
            return FP32.stored_bytes(weight.shape)


def _stored(opened: OpenedModel, weight: WeightSpec) -> int:
    rows, inputs = weight.shape
    match opened.scheme(weight):
        case IntegerScheme(bits=bits, group=group):
            blocks = _blocks(inputs) if group is None else inputs // group
            return rows * (inputs * bits // 8 + blocks * FP32.bits // 8 + -(-blocks * bits // 8))
        case scheme:
            return scheme.stored_bytes(weight.shape)


def _activations(opened: OpenedModel) -> int:
    return opened.prefill_chunk * MLP_ROWS * opened.widest * FP32.bits // 8


def _logits(opened: OpenedModel) -> int:
    return 2 * opened.spec.vocab_size * FP32.bits // 8
