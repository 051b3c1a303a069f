"""One matrix of integer codes on LiteRT's GPU accelerator: what it takes the codes for (docs/adr/0023).

    python -m benchmarks.gpu_codes [--tokens N ...]

One-hot inputs show each weight as it is multiplied with. Prints a Markdown table: bits, tokens at once,
arithmetic; the largest difference, in steps of a code, of the weights from code times scale, and from
(c + 128) s - 128 s with each product rounded to fp16; that of a scale that is a power of two; and, for
random inputs, how far the product strays of its size with the scale as it is and with a power of two and a
factor. Ends the process if the accelerator does.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import flatbuffers
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.lowering.litert.graph import ModelBuilder, SubgraphBuilder
from exporter.lowering.litert.operations import Operations
from exporter.lowering.litert.row_factors import in_two
from exporter.lowering.litert.storage import INTEGER_TYPES
from exporter.lowering.litert.writing import IDENTIFIER
from runtimes.litert.gpu_session import GpuArithmetic, open_compiled, wait_for_other_threads

ROWS, INPUTS = 64, 256
COLUMNS = (
    "Bits",
    "Tokens",
    "Arithmetic",
    "from c s",
    "from (c + 128) s - 128 s",
    "scale a power of two",
    "product",
    "product, with factors",
)

Array = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", nargs="+", type=int, default=[1, 16, 32, 256])
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for bits in (4, 8):
        for arithmetic in get_args(GpuArithmetic):
            for tokens in options.tokens:
                cells = (str(bits), str(tokens), arithmetic, *measured(bits, tokens, arithmetic))
                print(f"| {' | '.join(cells)} |", flush=True)


@dataclass(frozen=True)
class Probe:
    """codes: [ROWS, INPUTS]. scales: [ROWS]."""

    bits: int
    codes: Array
    scales: Array
    arithmetic: GpuArithmetic

    def product(self, x: Array) -> Array:
        """x [tokens, INPUTS] through the matrix on the accelerator, [tokens, ROWS]."""
        with tempfile.TemporaryDirectory(prefix="gpu-codes-") as place:
            model = Path(place) / "probe.tflite"
            model.write_bytes(self._model(len(x)))
            compiled = open_compiled(model, self.arithmetic)
            given = compiled.create_input_buffer_by_name("main", "x")
            given.write(np.ascontiguousarray(x[None]))
            result = compiled.create_output_buffer_by_name("main", "y")
            compiled.run_by_index(compiled.get_signature_index("main"), [given], [result])
            wait_for_other_threads()
            found: Array = result.read(len(x) * ROWS, np.float32).reshape(len(x), ROWS)
            return found

    def _model(self, tokens: int) -> bytes:
        builder = ModelBuilder()
        graph = SubgraphBuilder(builder, "main")
        x = graph.input("x", (1, tokens, INPUTS), torch.float32)
        weight = graph.adopt(graph.tensor(self._weight(builder)), (ROWS, INPUTS), torch.float32)
        graph.finish({"y": Operations(graph).fully_connected(x, weight)})
        packed = flatbuffers.Builder(1 << 16)
        packed.Finish(builder.model.Pack(packed), IDENTIFIER)
        return bytes(packed.Output())

    def _weight(self, builder: ModelBuilder) -> Any:
        tensor = schema.TensorT()
        tensor.name, tensor.hasRank, tensor.type = "weight", True, INTEGER_TYPES[self.bits]
        tensor.shape = np.array(self.codes.shape, np.int32)
        codes = self.codes.astype(np.int8)
        if self.bits == 4:
            codes = (codes[:, ::2] & 15) | (codes[:, 1::2] << 4)
        tensor.buffer = builder.constant_buffer(codes.tobytes())
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.quantizedDimension = self.scales, 0
        tensor.quantization.zeroPoint = np.zeros(ROWS, np.int64)
        return tensor


def measured(bits: int, tokens: int, arithmetic: GpuArithmetic) -> tuple[str, ...]:
    """The cells behind the first three."""
    random = np.random.default_rng(3)
    weights, largest = random.standard_normal((ROWS, INPUTS)), 2 ** (bits - 1) - 1
    scales = (np.abs(weights).max(1) / largest).astype(np.float16).astype(np.float32)
    codes = np.clip(np.round(weights / scales[:, None]), -largest, largest).astype(np.float32)
    powers, factors = in_two(scales)
    plain, power = (Probe(bits, codes, each, arithmetic) for each in (scales, powers))

    columns = random.permutation(INPUTS)[:tokens]
    one_hot = np.eye(INPUTS, dtype=np.float32)[columns]
    exact = (codes * scales[:, None])[:, columns].T
    half = scales.astype(np.float16)
    rounded = (codes.T.astype(np.float16) + np.float16(128)) * half - np.float16(128) * half
    seen = plain.product(one_hot)
    steps = [
        (np.abs(found - expected) / scales).max()
        for found, expected in (
            (seen, exact),
            (seen, rounded.astype(np.float32)[columns]),
            (power.product(one_hot) * factors, exact),
        )
    ]
    x = random.standard_normal((tokens, INPUTS)).astype(np.float32)
    product = x.astype(np.float64) @ (codes * scales[:, None]).T.astype(np.float64)
    size = np.sqrt((product**2).mean())
    strayed = [
        np.sqrt(((found - product) ** 2).mean()) / size
        for found in (plain.product(x), power.product(x) * factors)
    ]
    return (*(f"{each:.4f}" for each in steps), *(f"{each:.1e}" for each in strayed))


if __name__ == "__main__":
    main()
