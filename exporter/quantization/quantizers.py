"""Finding codes and scales: rows of floats in, packed codes and fp16 scales out.

Not about which scheme (`exporter.planning`) or where the result is stored (`writer`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.planning.scheme import IntegerScheme
from exporter.quantization.packing import Packed, pack

# Scale of an all-zero group: any positive number gives zeros; a normal fp16 one keeps runtimes that
# refuse zero or subnormal scales (XNNPACK) content.
ZERO_GROUP_SCALE = 2.0**-14
SMALLEST_FP16 = 2.0**-24
SEARCH_FACTORS = tuple(np.linspace(0.7, 1.1, 17).tolist())


def quantize_rows(rows: NDArray[np.float32], scheme: IntegerScheme) -> tuple[Packed, NDArray[np.float16]]:
    """Quantise [rows, in] symmetrically: packed codes and positive fp16 scales [rows, groups].

    8 bits: the scale is absmax / 127, rounded up to fp16. 4 bits: of a few scales around
    absmax / 7 the one whose codes give the least squared error, after rounding it to fp16.
    """
    count, inputs = rows.shape
    grouped = torch.from_numpy(rows).reshape(count, scheme.groups(inputs), -1)
    largest = grouped.abs().amax(dim=-1, keepdim=True)
    top = 2 ** (scheme.bits - 1) - 1
    if scheme.bits == 8:
        scales = _fp16_up(largest / top)
        codes = _codes(grouped, scales, top)
    else:
        scales, codes = _search(grouped, largest / top, top)
    scales = torch.where(largest == 0, ZERO_GROUP_SCALE, scales)
    found = codes.reshape(count, inputs).to(torch.int8).numpy()
    return pack(found, scheme.bits), scales.reshape(count, -1).to(torch.float16).numpy()


def _search(grouped: Tensor, plain: Tensor, top: int) -> tuple[Tensor, Tensor]:
    best_error = torch.full_like(plain, torch.inf)
    best_scales = torch.zeros_like(plain)
    best_codes = torch.zeros_like(grouped)
    for factor in SEARCH_FACTORS:
        scales = (plain * factor).half().float().clamp_(min=SMALLEST_FP16)
        codes = _codes(grouped, scales, top)
        error = (codes * scales - grouped).square_().sum(dim=-1, keepdim=True)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scales = torch.where(better, scales, best_scales)
        best_codes = torch.where(better, codes, best_codes)
    return best_scales, best_codes


def _codes(grouped: Tensor, scales: Tensor, top: int) -> Tensor:
    return (grouped / scales).round_().clamp_(-top - 1, top)


def _fp16_up(scales: Tensor) -> Tensor:
    """The smallest fp16 not below each scale, so that absmax never saturates."""
    rounded = scales.half().float()
    short = rounded < scales
    up = torch.nextafter(rounded.half(), torch.tensor(torch.inf, dtype=torch.float16)).float()
    return torch.where(short, up, rounded).clamp_(min=SMALLEST_FP16)
