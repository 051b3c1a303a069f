"""What the runtimes' own quantisers make of a checkpoint: onnxruntime's and ai-edge-quantizer's, called.

Neither sees a text here, and neither equalises. onnxruntime's is run whole, on a model of one matmul each
matrix, whose product with the identity is the matrix as its own kernel widens it; of ai-edge-quantizer its
algorithms for one tensor are called, as its recipes call them. The tied embedding, which is the head, gets
8 bits in each. Bytes are of codes, zero points and a 16-bit scale a group. Not about measuring (`quality`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.checkpoints.interface import CheckpointSource
from exporter.models.text.spec import Role

GROUP = 32
SCALE_BITS = 16
HEAD_ROWS = 32768  # that go through a quantiser together; no scale spans rows

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Rounded:
    """A matrix as it comes back, [outputs, inputs], and the bits a weight takes, scales included."""

    values: Matrix
    bits: float


Quantizer = Callable[[Matrix, int], Rounded]
"""From a matrix, [outputs, inputs], and 4 or 8 bits."""


@dataclass(frozen=True)
class VendorWeights:
    """Every tensor as a vendor's quantiser leaves it, in memory. `ReferenceWeights`."""

    source: CheckpointSource
    description: str
    values: Mapping[str, Tensor]
    bits: Mapping[str, float]

    @property
    def architecture(self) -> Mapping[str, Any]:
        return self.source.architecture

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self.source.tensors.items()}

    def stored_bytes(self, name: str) -> int:
        """Of one tensor."""
        return int(math.prod(self.shapes[name]) * self.bits[name] / 8)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        return self.values[name][start:stop].float()

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return self.values[name][list(wanted)].float()


def quantized_by(source: CheckpointSource, name: str) -> VendorWeights:
    """name: one of VENDORS."""
    quantizer, values, bits = VENDORS[name], {}, {}
    for weight in source.components["text"].spec.weights():
        rows = source.rows(weight.name, 0, weight.shape[0])
        if not weight.is_matrix:
            values[weight.name], bits[weight.name] = torch.from_numpy(np.array(rows)), 32.0
            continue
        wanted = 8 if weight.role in (Role.EMBEDDING, Role.HEAD) else 4
        parts = [
            quantizer(np.ascontiguousarray(rows[at : at + HEAD_ROWS], np.float32), wanted)
            for at in range(0, weight.shape[0], HEAD_ROWS)
        ]
        values[weight.name] = torch.from_numpy(np.concatenate([part.values for part in parts]))
        bits[weight.name] = parts[0].bits
    return VendorWeights(source, name, values, bits)


def by_onnxruntime(matrix: Matrix, bits: int, symmetric: bool) -> Rounded:
    """`MatMulNBitsQuantizer`'s default algorithm, groups of 32, and its kernel's own widening in fp32."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    outputs, inputs = matrix.shape
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
            "one matrix",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", inputs])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", outputs])],
            [onnx.numpy_helper.from_array(np.ascontiguousarray(matrix.T), "w")],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    how = DefaultWeightOnlyQuantConfig(
        block_size=GROUP, is_symmetric=symmetric, accuracy_level=1, bits=bits
    )
    quantizer = MatMulNBitsQuantizer(model, bits=bits, block_size=GROUP, algo_config=how)
    quantizer.process()
    session = onnxruntime.InferenceSession(
        quantizer.model.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (values,) = session.run(None, {"x": np.eye(inputs, dtype=np.float32)})
    zero_point = 0 if symmetric else bits
    return Rounded(np.ascontiguousarray(values.T), bits + (SCALE_BITS + zero_point) / GROUP)


def by_ai_edge_quantizer(matrix: Matrix, bits: int, algorithm: str) -> Rounded:
    """An algorithm of ai-edge-quantizer, as of a fully connected layer: 4 bits in groups, 8 bits by row."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithms.uniform_quantize import (
        naive_min_max_quantize,
        octav,
        uniform_quantize_tensor,
    )

    algorithms = {"min-max": naive_min_max_quantize, "OCTAV": octav}
    in_groups = bits == 4
    granularity = qtyping.QuantGranularity
    how = qtyping.TensorQuantizationConfig(
        num_bits=bits,
        symmetric=True,
        granularity=granularity.BLOCKWISE_32 if in_groups else granularity.CHANNELWISE,
    )
    layer = qtyping.OpInfo(
        op=None,
        op_name=qtyping.TFLOperationName.FULLY_CONNECTED,
        subgraph_op_index=0,
        op_quant_config=qtyping.OpQuantizationConfig(weight_tensor_config=how),
    )
    found = algorithms[algorithm].get_tensor_quant_params(layer, how, matrix)
    values = uniform_quantize_tensor.uniform_dequantize(found.quantized_data, found)
    return Rounded(
        np.ascontiguousarray(values, np.float32).reshape(matrix.shape),
        bits + SCALE_BITS / (GROUP if in_groups else matrix.shape[1]),
    )


VENDORS: dict[str, Quantizer] = {
    "onnxruntime int4": lambda matrix, bits: by_onnxruntime(matrix, bits, symmetric=True),
    "onnxruntime int4, zero points": lambda matrix, bits: by_onnxruntime(matrix, bits, symmetric=False),
    "ai-edge-quantizer int4, min-max": lambda matrix, bits: by_ai_edge_quantizer(matrix, bits, "min-max"),
    "ai-edge-quantizer int4, OCTAV": lambda matrix, bits: by_ai_edge_quantizer(matrix, bits, "OCTAV"),
}
