"""What transformers.js is told of pictures: the settings of its image processors, Gemma 3's and Gemma 4's.

Not about names (`web_multimodal`).
Source: @huggingface/transformers 4.3.1, `models/gemma3`, `models/gemma4`.
"""

from __future__ import annotations

from typing import Any

from runtimes.images.processing import ImageProcessing, PatchProcessing, SquareProcessing

BILINEAR, BICUBIC = 2, 3  # as Pillow numbers its filters


def image_settings(processing: ImageProcessing) -> dict[str, Any]:
    """What its image processor reads, beside its name."""
    common = {"do_convert_rgb": True, "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255}
    if processing.square is not None:
        return common | _squashing(processing.square)
    assert processing.patches is not None  # one of the two is there
    return common | _cutting(processing.patches, processing.soft_tokens)


def _squashing(square: SquareProcessing) -> dict[str, Any]:
    return {
        "do_normalize": True,
        "do_pad": False,
        "image_mean": list(square.mean),
        "image_std": list(square.std),
        "resample": BILINEAR,
        "size": {"height": square.side, "width": square.side},
    }


def _cutting(patches: PatchProcessing, soft_tokens: int) -> dict[str, Any]:
    return {
        "do_normalize": False,
        "max_soft_tokens": soft_tokens,
        "patch_size": patches.patch_size,
        "pooling_kernel_size": patches.kernel,
        "resample": BICUBIC,
    }
