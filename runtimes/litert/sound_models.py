"""What the models of a bundle that sounds go through are called, and their signatures, inputs and outputs.

LiteRT-LM's own names. Not about running them (`sound_encoder`).
"""

from __future__ import annotations

AUDIO_ENCODER, AUDIO_ADAPTER = "tf_lite_audio_encoder_hw", "tf_lite_audio_adapter"
END_OF_AUDIO = "tf_lite_end_of_audio"
AUDIO = (AUDIO_ENCODER, AUDIO_ADAPTER, END_OF_AUDIO)

# Signatures; behind the first two stands how many soft tokens come out.
ENCODER_SIGNATURE, ADAPTER_SIGNATURE, END_SIGNATURE = "audio_", "audio_adapter_", "eoa"
SOUND, SOUND_MASK, FEATURES, END = "src_inputs", "mask", "features", "eoa_embedding"

# How an encoder's file says of how many soft tokens before it one of them may be made: a caller who cuts a
# sound gives so many of them again.
LOOKBACK = "soft tokens looked back: "
