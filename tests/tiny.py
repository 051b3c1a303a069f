"""Tiny random Gemmas: every structural feature of a family, small enough to run in a blink.

Weights are scaled so that logits are far from uniform and norms are far from 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from exporter.checkpoints.interface import Codes, CodeScales, HeldCodes, SourceTensor, TokenFacts
from exporter.models.components import Components, text_alone
from exporter.models.text.families import read_spec
from exporter.models.text.spec import Role
from runtimes.images.processing import ImageProcessing
from runtimes.sounds.processing import SoundProcessing

VOCABULARY = 512
WINDOW = 16
FULL, SLIDING = "full_attention", "sliding_attention"
SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")


def tiny_gemma3() -> dict[str, Any]:
    """config.json of a Gemma 3 with a full layer between sliding ones, twice, and grouped queries."""
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 7,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "layer_types": [SLIDING, SLIDING, FULL, SLIDING, SLIDING, FULL, SLIDING],
        "rope_parameters": {
            FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            SLIDING: {"rope_type": "default", "rope_theta": 1e4},
        },
    }


def _base(model_type: str, layers: int) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }


def tiny_gemma1() -> dict[str, Any]:
    """config.json of a Gemma 1 2B in small: one key-value head, no post norms, every layer full."""
    plain = {"rope_type": "default", "rope_theta": 1e4}
    config = {**_base("gemma", 3), "num_key_value_heads": 1, "rope_parameters": plain}
    config["hidden_act"] = config.pop("hidden_activation")
    return {**config, "architectures": ["GemmaForCausalLM"]}


def tiny_gemma2() -> dict[str, Any]:
    """config.json of a Gemma 2 in small: soft caps that bite, sliding and full layers in turn."""
    return {
        **_base("gemma2", 5),
        "architectures": ["Gemma2ForCausalLM"],
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "layer_types": [SLIDING, FULL, SLIDING, FULL, SLIDING],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    }


def tiny_vaultgemma() -> dict[str, Any]:
    """config.json of a VaultGemma in small: Gemma 2's layers without post norms."""
    return {**tiny_gemma2(), "model_type": "vaultgemma", "architectures": ["VaultGemmaForCausalLM"]}


def _gemma4_ropes() -> dict[str, Any]:
    return {
        FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
        SLIDING: {"rope_type": "default", "rope_theta": 1e4},
    }


def tiny_gemma4_e2b() -> dict[str, Any]:
    """config.json of E2B in small: 4:1 pattern, per-layer embeddings, sharing layers twice as wide."""
    kinds = [SLIDING, SLIDING, SLIDING, SLIDING, FULL] * 2 + [SLIDING, SLIDING, SLIDING, SLIDING, FULL]
    return {
        **_base("gemma4_text", 15),
        "architectures": ["Gemma4ForCausalLM"],
        "num_key_value_heads": 1,
        "global_head_dim": 64,
        "sliding_window": WINDOW,
        "final_logit_softcapping": 3.0,
        "layer_types": kinds,
        "rope_parameters": _gemma4_ropes(),
        "hidden_size_per_layer_input": 32,
        "vocab_size_per_layer_input": VOCABULARY,
        "num_kv_shared_layers": 8,
        "use_double_wide_mlp": True,
        "attention_k_eq_v": False,
        "enable_moe_block": False,
    }


def tiny_gemma4_e4b() -> dict[str, Any]:
    """config.json of E4B in small: 5:1 pattern, two key-value heads, sharing layers of usual width."""
    kinds = [SLIDING, SLIDING, SLIDING, SLIDING, SLIDING, FULL] * 2
    return {
        **tiny_gemma4_e2b(),
        "num_hidden_layers": 12,
        "num_key_value_heads": 2,
        "layer_types": kinds,
        "num_kv_shared_layers": 5,
        "use_double_wide_mlp": False,
    }


def tiny_gemma4_12b() -> dict[str, Any]:
    """config.json of 12B in small: values from keys and one key-value head in full layers."""
    return {
        **_base("gemma4_unified_text", 7),
        "architectures": ["Gemma4UnifiedForCausalLM"],
        "global_head_dim": 64,
        "num_global_key_value_heads": 1,
        "sliding_window": WINDOW,
        "final_logit_softcapping": 3.0,
        "layer_types": [SLIDING, SLIDING, FULL, SLIDING, SLIDING, SLIDING, FULL],
        "rope_parameters": _gemma4_ropes(),
        "num_kv_shared_layers": 0,
        "use_double_wide_mlp": False,
        "attention_k_eq_v": True,
    }


TINY_CONFIGS: dict[str, Callable[[], dict[str, Any]]] = {
    "Gemma 1": tiny_gemma1,
    "Gemma 2": tiny_gemma2,
    "Gemma 3": tiny_gemma3,
    "VaultGemma": tiny_vaultgemma,
    "Gemma 4 E2B": tiny_gemma4_e2b,
    "Gemma 4 E4B": tiny_gemma4_e4b,
    "Gemma 4 12B": tiny_gemma4_12b,
}


@dataclass(frozen=True)
class RandomSource:
    """A `CheckpointSource` whose weights are made in memory from a seed."""

    architecture: Mapping[str, Any]
    seed: int = 0
    name: str = "tiny-gemma"
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    documents: Path | None = None
    adapter: Path | None = None
    images: ImageProcessing | None = None
    sounds: SoundProcessing | None = None
    components: Components = field(init=False)
    weights: dict[str, NDArray[np.float32]] = field(init=False)

    def __post_init__(self) -> None:
        spec = read_spec(self.architecture, "tiny config.json")
        random = np.random.default_rng(self.seed)
        weights = {}
        for weight in spec.weights():
            values = random.standard_normal(weight.shape)
            if weight.is_matrix:
                values *= 2.0 * weight.shape[-1] ** -0.5
            elif weight.role is Role.SCALAR:
                values = 1.0 + 0.1 * values
            else:
                values = 0.3 * values + (0.0 if spec.norm_adds_one else 1.0)
            weights[weight.name] = values.astype(np.float32)
        object.__setattr__(self, "components", text_alone(spec))
        object.__setattr__(self, "weights", weights)

    @property
    def tensors(self) -> dict[str, SourceTensor]:
        return {
            name: SourceTensor(name, values.shape, "F32", values.nbytes)
            for name, values in self.weights.items()
        }

    @property
    def tokens(self) -> TokenFacts:
        return TokenFacts(2, 1, 0, (1, 5), None)

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        return self.weights[name][start:stop]

    @property
    def held(self) -> Mapping[str, HeldCodes]:
        return {}

    def codes(self, name: str, start: int, stop: int) -> tuple[Codes, CodeScales]:
        raise KeyError(name)

    def digests(self) -> dict[str, str]:
        return {"seed": str(self.seed)}

    def write_tokenizer(self, directory: Path) -> None:
        write_tiny_tokenizer(directory)


def write_tiny_tokenizer(directory: Path) -> None:
    """tokenizer.json with byte tokens only: ids 6 to 261 are bytes, the rest never come up."""
    vocabulary = {token: i for i, token in enumerate(SPECIAL_TOKENS)}
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    for i in range(len(vocabulary), VOCABULARY):
        vocabulary[f"<unused{i}>"] = i
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>", '
        '"pad_token": "<pad>", "unk_token": "<unk>"}',
        encoding="utf-8",
    )


def name_unused(directory: Path, tokens: Mapping[int, str], special: bool = True) -> None:
    """Add tokens to a tiny tokenizer, each in the place of an unused one."""
    path = directory / "tokenizer.json"
    tokenizer = json.loads(path.read_bytes())
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for token, content in tokens.items():
        del tokenizer["model"]["vocab"][f"<unused{token}>"]
        tokenizer["model"]["vocab"][content] = token
        tokenizer["added_tokens"].append({"id": token, "content": content, "special": special, **plain})
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
