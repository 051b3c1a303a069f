"""What the models of a bundle that images go through are called, and their signatures, inputs and outputs.

LiteRT-LM's own names. Not about running them (`image_encoder`).
"""

from __future__ import annotations

VISION_ENCODER, VISION_ADAPTER = "tf_lite_vision_encoder", "tf_lite_vision_adapter"
END_OF_VISION = "tf_lite_end_of_vision"
VISION = (VISION_ENCODER, VISION_ADAPTER, END_OF_VISION)

# Signatures; behind the first two stands how many soft tokens come out.
ENCODER_SIGNATURE, ADAPTER_SIGNATURE, END_SIGNATURE = "vision_", "vision_adapter_", "eoi"
IMAGES, PATCH_POSITIONS, FEATURES, PATCH_MASK = "images", "positions_xy", "features", "mask"
SOFT_TOKENS, ADAPTED, END = "soft_tokens", "mm_embedding", "eoi_embedding"
