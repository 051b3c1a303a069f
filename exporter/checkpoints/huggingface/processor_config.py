"""What the files of processors have in common: processor_config.json as a whole, keys that change nothing,
and how numbers are held against config.json's.

Every key is read, known to change nothing, or refused. Not about what is in them for pictures
(`processor_files`) or sounds (`sound_processor_files`). Sources: `to_dict` of the processors, image
processors and feature extractors of transformers 5.23, its `ImagesKwargs` and `AudioKwargs`, and the keys
transformers 4 saved.
"""

from __future__ import annotations

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import IMAGE_PROCESSOR, PROCESSOR
from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from runtimes.excerpt import excerpt

FETCH = "correct it, or fetch the checkpoint's processor files again"

# How one was saved, and how it returns what it made.
OF_EVERY = ("auto_map", "device", "processor_class", "return_tensors")
OF_WHOLE = (
    "audio_ms_per_token", "audio_seq_length", "auto_map", "chat_template", "feature_extractor",
    "image_processor", "image_seq_length", "processor_class", "video_processor",
)  # fmt: skip
OF_IMAGES = (
    "crop_size", "default_to_square", "disable_grouping", "do_center_crop", "do_convert_rgb",
    "do_normalize", "do_pad", "do_pan_and_scan", "do_rescale", "do_resize", "data_format", "image_mean",
    "image_processor_type", "image_seq_length", "image_std", "input_data_format", "max_soft_tokens",
    "num_channels", "pad_size", "pan_and_scan_max_num_crops", "pan_and_scan_min_crop_size",
    "pan_and_scan_min_ratio_to_activate", "patch_size", "pooling_kernel_size", "resample",
    "rescale_factor", "size", "size_divisor",
)  # fmt: skip
OF_SOUNDS = (
    "audio_samples_per_token", "dither", "feature_extractor_type", "feature_size", "fft_length",
    "fft_overdrive", "frame_length", "frame_length_ms", "hop_length", "hop_length_ms",
    "input_scale_factor", "max_frequency", "mel_floor", "min_frequency", "padding_side", "padding_value",
    "per_bin_mean", "per_bin_stddev", "preemphasis", "preemphasis_htk_flavor", "return_attention_mask",
    "sampling_rate",
)  # fmt: skip


def whole_processor(directory: CheckpointDirectory) -> StrictConfig:
    """The file of all processors; nothing where there is none. Raises SpecError for a key no processor of a
    Gemma has."""
    path = directory.path / PROCESSOR
    raw = directory.json(PROCESSOR) if directory.has(PROCESSOR) else {}
    whole = StrictConfig(str(path), raw, path)
    whole.ignore(*OF_WHOLE)
    whole.refuse_unread()
    return whole


def processor_alone(directory: CheckpointDirectory, of_others: tuple[str, ...]) -> StrictConfig:
    """preprocessor_config.json, which transformers 4 wrote. of_others: keys of another modality's
    processor, which some have in the same file."""
    path = directory.path / IMAGE_PROCESSOR
    config = StrictConfig(str(path), directory.json(IMAGE_PROCESSOR), path)
    config.ignore(*of_others)
    return config


def expect_as_configured(config: StrictConfig, key: str, value: int, theirs: str) -> None:
    """The key, where present, must say what the tower does. theirs: config.json's own name for it. Raises
    SpecError."""
    if config.has(key) and config.raw[key] != value:
        said = f"is {excerpt(config.raw[key])}, and config.json has {theirs} {value}"
        raise SpecError(f"{config.where}.{key}", said, FETCH)
