"""What a directory says is done to a sound before it enters the encoder: its feature extractor's settings.

transformers 5 saves them in processor_config.json, as `feature_extractor`; where that is missing, a
preprocessor_config.json of a feature extractor alone counts. Keys that decide features must hold what the
driver does and the encoder takes, and keys that nobody knows are refused. Not about doing it
(`runtimes.sounds`). Source: transformers 5.23 `feature_extraction_gemma4.py`,
`feature_extraction_gemma4_unified.py`, `processing_gemma4.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import IMAGE_PROCESSOR, PROCESSOR
from exporter.checkpoints.huggingface.processor_config import (
    FETCH,
    OF_EVERY,
    OF_IMAGES,
    OF_SOUNDS,
    expect_as_configured,
    processor_alone,
    whole_processor,
)
from exporter.checkpoints.tokenizer.named_tokens import NamedTokens
from exporter.errors import SpecError
from exporter.models.audio.spec import FRAMES_PER_TOKEN, AudioSpec, ConformerSpec, WaveformSpec
from exporter.models.config import StrictConfig
from runtimes.excerpt import excerpt
from runtimes.records import RecordError
from runtimes.sounds.processing import (
    FASTEST,
    LONGEST_FRAME,
    SOUND_PROCESSING_NAME,
    SOUND_PROCESSING_SCHEMA_VERSION,
    SampleProcessing,
    SoundMarks,
    SoundProcessing,
    SpectrumProcessing,
    require_possible_sounds,
)

NESTED, OWN_TYPE = "feature_extractor", "feature_extractor_type"
USUAL_SOFT_TOKENS, USUAL_RATE = 750, 16_000  # of transformers' classes, as all below
FEWEST_SOFT_TOKENS = 4  # a sound that a validation could tell from another, or from its own reverse
FRAME_MS, HOP_MS, HIGHEST, FLOOR = 20.0, 10.0, 8000.0, 1e-3
EXTRACTORS = {
    "gemma4_audio": "Gemma4AudioFeatureExtractor",
    "gemma4_unified_audio": "Gemma4UnifiedAudioFeatureExtractor",
}
# By transformers' classes, but where it is called with them.
NOT_LOOKED_AT = (
    "max_length", "pad_to_multiple_of", "padding", "preemphasis_htk_flavor", "return_attention_mask",
    "truncation",
)  # fmt: skip


@dataclass(frozen=True)
class SoundProcessingRead:
    """remarks: what the directory does not say, a sentence each."""

    processing: SoundProcessing
    remarks: tuple[str, ...]


def sound_processing_of(directory: CheckpointDirectory, spec: AudioSpec) -> SoundProcessingRead:
    """Raises SpecError for an extractor that does what the driver does not, or that contradicts the encoder
    or the tokenizer; CheckpointError for files that cannot be read."""
    whole = whole_processor(directory)
    config = _extractor(directory, whole)
    remarks: tuple[str, ...] = ()
    if config is None:
        config = StrictConfig(str(directory.path / PROCESSOR), {})
        remarks = (
            f"{PROCESSOR} does not say how sounds are prepared: what transformers' class of this encoder "
            "does was taken.",
        )
    config.expect(OWN_TYPE, EXTRACTORS[spec.model_type], None)
    for key in ("padding_value", "preemphasis", "dither"):
        config.expect(key, 0, 0.0, None)
    config.expect("input_scale_factor", 1, 1.0, None)
    for key in ("per_bin_mean", "per_bin_stddev"):
        config.expect(key, None)
    config.expect("padding_side", "right", None)
    config.ignore(*OF_EVERY, *NOT_LOOKED_AT)
    rate = _rate(config)
    most = _most_soft_tokens(whole)
    spectrum, samples = None, None
    if isinstance(spec, ConformerSpec):
        spectrum = _spectrum(config, spec, rate)
    else:
        samples = _samples(config, spec)
    config.refuse_unread()
    marks = _marks(directory, spec)
    processing = SoundProcessing(SOUND_PROCESSING_SCHEMA_VERSION, most, rate, marks, spectrum, samples)
    try:
        require_possible_sounds(processing)  # or no driver would read what a release says of it
    except RecordError as error:
        came = f"comes to what {SOUND_PROCESSING_NAME} cannot hold ({error})"
        raise SpecError(config.where, came, FETCH) from error
    _expect_token_length(whole, processing)
    return SoundProcessingRead(processing, remarks)


def _expect_token_length(whole: StrictConfig, processing: SoundProcessing) -> None:
    """Raise SpecError for another length of a soft token than the encoder makes of the extractor's
    features: processors count placeholders by it."""
    key, lasts = "audio_ms_per_token", 1000 * processing.longest / processing.soft_tokens
    if whole.has(key) and abs(whole.number(key) - lasts) > 1e-6:
        said = f"is {excerpt(whole.raw[key])}, and a soft token of this encoder is {lasts:g} ms of sound"
        raise SpecError(f"{whole.where}.{key}", said, FETCH)


def _extractor(directory: CheckpointDirectory, whole: StrictConfig) -> StrictConfig | None:
    if whole.has(NESTED):
        return whole.child(NESTED)
    if directory.has(IMAGE_PROCESSOR):
        config = processor_alone(directory, of_others=OF_IMAGES)
        return config if OWN_TYPE in config.raw else None
    return None


def _most_soft_tokens(whole: StrictConfig) -> int:
    """Of a sound. Raises SpecError for too few to hear anything by."""
    key = "audio_seq_length"
    most = whole.integer(key) if whole.has(key) else USUAL_SOFT_TOKENS
    if most < FEWEST_SOFT_TOKENS:
        shortest = f"a sound of {FEWEST_SOFT_TOKENS} soft tokens is the shortest"
        raise SpecError(
            f"{whole.where}.{key}",
            f"is {excerpt(most)}, and {shortest} that a release can be tried with",
            f"{FETCH}, or give --components text,vision",
        )
    return most


def _rate(config: StrictConfig) -> int:
    rate = config.integer("sampling_rate") if config.has("sampling_rate") else USUAL_RATE
    if rate > FASTEST:
        why = f"is {excerpt(rate)}, and no more than {FASTEST:,} samples a second are read"
        raise SpecError(f"{config.where}.sampling_rate", why, FETCH)
    return rate


def _spectrum(config: StrictConfig, spec: ConformerSpec, rate: int) -> SpectrumProcessing:
    def number(key: str, usual: float) -> float:
        if not config.has(key) or config.raw[key] == 0:
            return 0.0 if config.raw.get(key) == 0 else usual
        return config.number(key)

    expect_as_configured(
        config, "feature_size", spec.bands, "subsampling_conv_channels, which leave room for"
    )

    def length(key: str, usual: float) -> int:
        """In samples."""
        if (found := number(key, usual)) * rate > LONGEST_FRAME * 1000:
            why = f"is {found:g} ms, and {LONGEST_FRAME:,} samples are the most there can be"
            raise SpecError(f"{config.where}.{key}", why, FETCH)
        return round(rate * found / 1000)

    frame, hop = length("frame_length_ms", FRAME_MS), length("hop_length_ms", HOP_MS)
    if min(frame, hop) < 1:
        raise SpecError(f"{config.where}.frame_length_ms", "no frame or no step is a sample long", FETCH)
    fft = 1 << math.ceil(math.log2(frame))
    if config.has("fft_overdrive") and config.boolean("fft_overdrive"):
        fft *= 2
    for key, computed in (("frame_length", frame), ("hop_length", hop), ("fft_length", fft)):
        _expect_as_computed(config, key, computed)
    lowest, highest = number("min_frequency", 0.0), number("max_frequency", HIGHEST)
    if not lowest < highest <= rate / 2:
        raise SpecError(
            f"{config.where}.max_frequency",
            f"is {highest:g} Hz, and bands go from {lowest:g} to {rate / 2:g}",
            FETCH,
        )
    floor = number("mel_floor", FLOOR)
    if floor == 0:
        raise SpecError(f"{config.where}.mel_floor", "is 0, whose logarithm nothing holds", FETCH)
    return SpectrumProcessing(
        frame, hop, fft, frame // 2, spec.bands, lowest, highest, floor, FRAMES_PER_TOKEN
    )


def _expect_as_computed(config: StrictConfig, key: str, computed: int) -> None:
    """transformers writes what it computed, and never reads it. Raises SpecError for anything else."""
    if config.has(key) and config.raw[key] != computed:
        said = f"is {excerpt(config.raw[key])}, and transformers computes {computed} samples"
        raise SpecError(f"{config.where}.{key}", f"{said} of frame_length_ms or hop_length_ms", FETCH)


def _samples(config: StrictConfig, spec: WaveformSpec) -> SampleProcessing:
    config.ignore(*OF_SOUNDS)  # its class takes what the other one has, and makes nothing of it
    for key in ("feature_size", "audio_samples_per_token"):
        expect_as_configured(config, key, spec.samples, "audio_embed_dim")
    return SampleProcessing(spec.samples)


def _marks(directory: CheckpointDirectory, spec: AudioSpec) -> SoundMarks:
    tokens, names = spec.tokens, NamedTokens.read(directory)
    for token in (tokens.soft, tokens.begin, tokens.end):
        if names.name(token) is None:
            raise SpecError(
                directory.path,
                f"the tokenizer has no special token {token}, which config.json says stands with sounds",
                "fetch the checkpoint's tokenizer again, or give --components text,vision",
            )
    placeholder = names.name(tokens.soft)
    assert placeholder is not None  # looked up just before
    return SoundMarks(tokens.soft, tokens.begin, tokens.end, placeholder)
