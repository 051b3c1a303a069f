"""audio_config read strictly: published numbers, what transformers fills in, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import SpecError
from exporter.models.audio.defaults import AUDIO_DEFAULTS, SOUND_TOKEN_DEFAULTS
from exporter.models.audio.families import has_audio, read_audio
from exporter.models.audio.spec import AudioSpec, ConformerSpec, SoundTokens, WaveformSpec
from exporter.models.published import published_audio
from tests.tiny_encoders import TINY_ENCODERS
from tests.tiny_image_stores import TEXT_CONFIGS, whole_config
from tests.tiny_towers import TINY_TOWERS

TEXT = {"hidden_size": 1536, "vocab_size": 262_144}
GEMMA4: dict[str, Any] = {"model_type": "gemma4", "audio_config": {"model_type": "gemma4_audio"}}


def read(raw: dict[str, Any]) -> AudioSpec:
    return read_audio(raw, TEXT, "config.json").spec


def changed(**keys: Any) -> dict[str, Any]:
    return GEMMA4 | {"audio_config": {"model_type": "gemma4_audio", **keys}}


@pytest.mark.parametrize("kind", TINY_ENCODERS)
def test_a_tiny_models_config_is_read_as_its_spec(kind: str) -> None:
    encoder = TINY_ENCODERS[kind]()
    raw = whole_config(kind, TINY_TOWERS[kind](), encoder)
    assert has_audio(raw)
    assert read_audio(raw, TEXT_CONFIGS[kind](), "config.json").spec == encoder.spec


def test_published_encoders_have_the_sizes_that_are_published() -> None:
    e2b, e4b = published_audio("gemma-4-e2b"), published_audio("gemma-4-e4b")
    assert isinstance(e2b, ConformerSpec)
    assert isinstance(e4b, ConformerSpec)
    assert e2b.tokens == SoundTokens(258_881, 256_000, 258_883)
    assert (e2b.bands, e2b.head_dim, e2b.chunk) == (128, 128, 12)
    assert round(e2b.parameter_count() / 1e6) == 307
    assert (e2b.text_hidden_size, e4b.text_hidden_size) == (1536, 2560)
    embedder = published_audio("gemma-4-12b")
    assert embedder == WaveformSpec(640, 1e-6, 3840, SoundTokens(258_881, 256_000, 258_883))
    assert published_audio("gemma-3-4b") is None


def test_what_config_json_leaves_out_is_transformers_own() -> None:
    found = read_audio(GEMMA4, TEXT, "config.json")
    assert isinstance(found.spec, ConformerSpec)
    assert found.spec.layers == 12
    assert "audio_config.hidden_size (1024)" in found.remarks[0]


def test_defaults_are_those_of_transformers_classes() -> None:
    from transformers import Gemma4Config
    from transformers.models.gemma4.configuration_gemma4 import Gemma4AudioConfig
    from transformers.models.gemma4_unified.configuration_gemma4_unified import Gemma4UnifiedAudioConfig

    classes = {"gemma4_audio": Gemma4AudioConfig(), "gemma4_unified_audio": Gemma4UnifiedAudioConfig()}
    for kind, own in classes.items():
        found = {key: getattr(own, key) for key in AUDIO_DEFAULTS[kind]}
        assert found == AUDIO_DEFAULTS[kind]
    whole = Gemma4Config()
    assert {key: getattr(whole, key) for key in SOUND_TOKEN_DEFAULTS} == SOUND_TOKEN_DEFAULTS


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (changed(attention_context_right=2), "attention_context_right: expected 0, got 2"),
        (changed(attention_context_left=20), "is 20, and one more than a block of 12 is known"),
        (changed(hidden_act="gelu"), "hidden_act: expected 'silu', got 'gelu'"),
        (changed(subsampling_conv_channels=[30, 8]), "the first a multiple of 4, got [30, 8]"),
        (changed(num_attention_heads=3), "1024 does not split into 3 heads"),
        (changed(conv_group_norm_eps=1e-3), "unknown key 'conv_group_norm_eps'"),
        (changed(num_hidden_layers=10**9), "num_hidden_layers"),
        (changed(model_type="gemma3n_audio"), "'gemma3n_audio' is an audio encoder this version does not"),
        (GEMMA4 | {"audio_token_id": 256_000}, "three ids that differ are wanted"),
        (GEMMA4 | {"audio_token_id": 400_000}, "400000 is outside 262144 tokens"),
        ({"model_type": "gemma3", "audio_config": {}}, "gemma3 has no audio encoder"),
    ],
)
def test_what_is_not_known_is_refused(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(raw)
    assert said in str(caught.value)


def test_a_bound_that_half_precision_holds_is_kept() -> None:
    spec = read(changed(gradient_clipping=100.0))
    assert isinstance(spec, ConformerSpec)
    assert spec.bound == 100.0
