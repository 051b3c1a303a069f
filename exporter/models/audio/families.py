"""`audio_config` and the ids around it to an `AudioSpec`: one function for each kind of encoder.

As strict as the text's readers: a key is read, known to change nothing, or refused. Not about tensors, nor
about what a processor does to a sound. Sources: transformers 5.23 `configuration_gemma4.py`,
`configuration_gemma4_unified.py` and the published config.json files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.errors import SpecError
from exporter.models.audio.defaults import AUDIO_DEFAULTS, SOUND_TOKEN_DEFAULTS
from exporter.models.audio.spec import AudioSpec, ConformerSpec, SoundTokens, WaveformSpec
from exporter.models.config import StrictConfig
from exporter.models.text.families.limits import refuse_impossible_numbers
from exporter.models.tower_config import FETCH, remarks_on_defaults, require_fitting, with_defaults
from runtimes.excerpt import excerpt

AUDIO = "audio_config"
TEXT_ALONE = "give --components text,vision, which leaves sounds out"
NORM_EPS = 1e-6  # of most of a conformer's norms: their class's own, no key says it
LARGEST_HALF = 65_504.0
OF_TRAINING = ("initializer_range", "dtype", "torch_dtype")  # change nothing that is computed


@dataclass(frozen=True)
class AudioRead:
    """remarks: what config.json does not say and was taken from transformers, a sentence, if anything."""

    spec: AudioSpec
    remarks: tuple[str, ...]


def has_audio(raw: Mapping[str, Any]) -> bool:
    """Whether a config.json describes an encoder at all: models without are saved with null there."""
    return raw.get(AUDIO) is not None


def read_audio(
    raw: Mapping[str, Any], text: Mapping[str, Any], where: str, file: Path | None = None
) -> AudioRead:
    """The encoder of a whole config.json, which has one.

    text: its text_config as transformers' class has it. where, file: as `StrictConfig`. Raises SpecError
    for an encoder of another kind than the family's, and for keys that are wrong, unknown or impossible.
    """
    model_type = str(raw["model_type"])
    whole = StrictConfig(where, raw, file)
    if model_type not in FAMILIES:
        raise SpecError(f"{where}.{AUDIO}", f"{model_type} has no audio encoder", FETCH)
    kind, reader = FAMILIES[model_type]
    encoder = whole.child(AUDIO)
    said = encoder.raw.get("model_type", kind)
    if said != kind:
        raise SpecError(
            f"{encoder.where}.model_type",
            f"{excerpt(said)} is an audio encoder this version does not know; {model_type} has {kind}",
            TEXT_ALONE,
        )
    filled = with_defaults(encoder.raw, AUDIO_DEFAULTS[kind])
    refuse_impossible_numbers({k: v for k, v in filled.items() if v != 0}, encoder.where)
    config = StrictConfig(encoder.where, filled, file, encoder.keys)
    around = with_defaults(raw, SOUND_TOKEN_DEFAULTS)
    tokens = _tokens(StrictConfig(where, around, file), int(text["vocab_size"]))
    spec = reader(config, int(text["hidden_size"]), tokens)
    config.refuse_unread()
    taken = {
        **{f"{AUDIO}.{key}": value for key, value in filled.items() if key not in encoder.raw},
        **{key: value for key, value in around.items() if key not in raw},
    }
    return AudioRead(spec, remarks_on_defaults(taken))


def _read_conformer(config: StrictConfig, text_hidden_size: int, tokens: SoundTokens) -> ConformerSpec:
    config.expect("hidden_act", "silu")
    config.expect("attention_context_right", 0)
    config.expect("attention_invalid_logits_value", -1e9)
    config.ignore(*OF_TRAINING)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    chunk, left = config.integer("attention_chunk_size"), config.integer("attention_context_left")
    channels, bound = config.raw["subsampling_conv_channels"], config.number("gradient_clipping")
    config.ignore("subsampling_conv_channels")
    require_fitting(
        hidden % heads == 0, config, "hidden_size", f"{hidden} does not split into {heads} heads"
    )
    # Distances further than a block have no place among transformers' relative positions.
    fits = left == chunk + 1
    require_fitting(
        fits, config, "attention_context_left", f"is {left}, and one more than a block of {chunk} is known"
    )
    whole = isinstance(channels, list) and all(type(each) is int and each > 0 for each in channels)
    said = f"expected two numbers, the first a multiple of 4, got {excerpt(channels)}"
    two = whole and len(channels) == 2 and channels[0] % 4 == 0
    require_fitting(two, config, "subsampling_conv_channels", said)
    return ConformerSpec(
        hidden_size=hidden,
        layers=config.integer("num_hidden_layers"),
        heads=heads,
        channels=(channels[0], channels[1]),
        kernel=config.integer("conv_kernel_size"),
        chunk=chunk,
        residual=config.number("residual_weight"),
        cap=config.number("attention_logit_cap"),
        bound=None if bound >= LARGEST_HALF else bound,
        clipped=config.boolean("use_clipped_linears"),
        norm_eps=NORM_EPS,
        conv_eps=config.number("rms_norm_eps"),
        output_size=config.integer("output_proj_dims"),
        text_hidden_size=text_hidden_size,
        tokens=tokens,
    )


def _read_waveform(config: StrictConfig, text_hidden_size: int, tokens: SoundTokens) -> WaveformSpec:
    samples = config.integer("audio_embed_dim")
    for other in ("hidden_size", "output_proj_dims", "audio_samples_per_token"):
        config.expect(other, samples, None)
    config.ignore(*OF_TRAINING)
    return WaveformSpec(samples, config.number("rms_norm_eps"), text_hidden_size, tokens)


EncoderReader = Callable[[StrictConfig, int, SoundTokens], AudioSpec]
# model_type of the whole model, to that of its encoder and who reads it.
FAMILIES: Mapping[str, tuple[str, EncoderReader]] = {
    "gemma4": ("gemma4_audio", _read_conformer),
    "gemma4_unified": ("gemma4_unified_audio", _read_waveform),
}


def _tokens(config: StrictConfig, vocab_size: int) -> SoundTokens:
    found: dict[str, int] = {}
    for key, names in TOKEN_KEYS.items():
        named = next(name for name in names if config.has(name))
        found[key] = config.integer(named)
        for other in names:
            config.expect(other, found[key], None)
        inside = found[key] < vocab_size
        require_fitting(inside, config, named, f"{found[key]} is outside {vocab_size} tokens")
    differ = len(set(found.values())) == len(found)
    require_fitting(differ, config, "audio_token_id", f"three ids that differ are wanted, not {found}")
    return SoundTokens(**found)


TOKEN_KEYS: Mapping[str, tuple[str, ...]] = {
    "soft": ("audio_token_id",),
    "begin": ("boa_token_id",),
    "end": ("eoa_token_index", "eoa_token_id"),
}
