"""Checkpoints with towers as transformers itself saves them, against transformers' own text model.

Matrix: Gemma 3, Gemma 4 with towers and Gemma 4 without × saved by `save_pretrained`, and as the state
dictionary a training loop saves. Equal: every tensor of the text model, the numbers that are left out, and
the logits of text. Not asserted here: published checkpoints (nobody has them here), what towers compute
(`test_towers_against_transformers`, `test_encoders_against_transformers`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from exporter.checkpoints.adapters.source import LoraSource
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.multimodal import MULTIMODAL
from exporter.checkpoints.text_tensors import describe_left_out, find_text_tensors
from exporter.models.published import published_spec
from exporter.models.text.families import read_spec
from exporter.models.text.spec import Role
from tests.reference import transformers_logits
from tests.tiny import (
    name_unused,
    tiny_gemma3,
    tiny_gemma4_12b,
    tiny_gemma4_e2b,
    write_tiny_tokenizer,
)
from tests.tiny_encoders import SOUND_BEGIN, SOUND_END, SOUND_SOFT
from tests.tiny_image_stores import SOUND_TOKENS
from tests.tiny_towers import BEGIN, END, SOFT
from tests.unit.exporter.checkpoints.published_configs import PUBLISHED

IDS = {"image_token_id": SOFT, "boi_token_id": BEGIN, "eoi_token_id": END}
IDS |= {"audio_token_id": SOUND_SOFT, "boa_token_id": SOUND_BEGIN, "eoa_token_index": SOUND_END}
TOLERANCE = 1e-5  # max abs of logits; the two models are the same code


def gemma3() -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48}
    vision |= {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    ids = {"image_token_index": SOFT, "boi_token_index": BEGIN, "eoi_token_index": END}
    config = Gemma3Config(text_config=tiny_gemma3(), vision_config=vision, mm_tokens_per_image=4, **ids)
    return Gemma3ForConditionalGeneration(config)


def gemma4() -> Any:
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    vision = {"model_type": "gemma4_vision", "hidden_size": 32, "intermediate_size": 48, "head_dim": 16}
    vision |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    vision |= {"position_embedding_size": 32}
    audio = {"model_type": "gemma4_audio", "hidden_size": 32, "num_hidden_layers": 2}
    audio |= {"num_attention_heads": 2, "output_proj_dims": 64}
    config = Gemma4Config(text_config=tiny_gemma4_e2b(), vision_config=vision, audio_config=audio, **IDS)
    return Gemma4ForConditionalGeneration(config)


def gemma4_unified() -> Any:
    from transformers import Gemma4UnifiedConfig, Gemma4UnifiedForConditionalGeneration

    vision = {"model_type": "gemma4_unified_vision", "mm_embed_dim": 64, "mm_posemb_size": 8}
    vision |= {"output_proj_dims": 64}
    audio = {"model_type": "gemma4_unified_audio", "audio_embed_dim": 32}
    text = tiny_gemma4_12b()
    config = Gemma4UnifiedConfig(text_config=text, vision_config=vision, audio_config=audio, **IDS)
    return Gemma4UnifiedForConditionalGeneration(config)


def write_tokenizer(directory: Path) -> None:
    write_tiny_tokenizer(directory)
    name_unused(directory, {SOFT: "<image>", BEGIN: "<begin_of_image>", END: "<end_of_image>"})
    name_unused(directory, SOUND_TOKENS)


def by_save_pretrained(model: Any, directory: Path) -> None:
    model.save_pretrained(directory)


def as_a_state_dictionary(model: Any, directory: Path) -> None:
    """The names the model has in memory, the tied head as a tensor of its own."""
    model.config.save_pretrained(directory)
    state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    assert "lm_head.weight" in state
    save_file(state, directory / "model.safetensors", {"format": "pt"})


@pytest.fixture(params=[gemma3, gemma4, gemma4_unified], ids=lambda make: make.__name__, scope="module")
def model(request: pytest.FixtureRequest) -> Any:
    """A model none of whose tensors is what it was initialised to."""
    make: Callable[[], Any] = request.param
    made = make().eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            spread = 2.0 * tensor.shape[-1] ** -0.5 if tensor.ndim > 1 else 0.3
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread + (tensor.ndim < 2))
    made.tie_weights()
    return made


@pytest.fixture(params=[by_save_pretrained, as_a_state_dictionary], ids=lambda save: save.__name__)
def source(request: pytest.FixtureRequest, model: Any, tmp_path: Path) -> HuggingFaceSource:
    save: Callable[[Any, Path], None] = request.param
    save(model, tmp_path)
    write_tokenizer(tmp_path)
    return HuggingFaceSource.open(tmp_path)


def values_of(source: HuggingFaceSource) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Of the text model."""
    weights = source.components["text"].weights
    return {weight.name: source.rows(weight.name, 0, weight.shape[0]) for weight in weights}


def test_the_text_model_has_exactly_transformers_tensors(model: Any, source: HuggingFaceSource) -> None:
    theirs = {
        f"model.{name}": tensor.numpy() for name, tensor in model.model.language_model.state_dict().items()
    }
    ours = values_of(source)
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values, err_msg=name)


def test_layer_scalars_are_read_and_are_not_ones(source: HuggingFaceSource) -> None:
    text = source.components["text"]
    scalars = [weight.name for weight in text.weights if weight.role is Role.SCALAR]
    assert len(scalars) == (0 if text.spec.model_type == "gemma3_text" else len(text.spec.layers))
    assert all(source.rows(name, 0, 1)[0] != 1.0 for name in scalars)


def test_every_other_tensor_is_counted_as_left_out(model: Any, source: HuggingFaceSource) -> None:
    total = sum(tensor.numel() for tensor in model.state_dict().values()) - model.lm_head.weight.numel()
    text = sum(math.prod(tensor.shape) for tensor in source.tensors.values())
    counts = [int(part.rpartition(", ")[2].split()[0].replace(",", "")) for part in source.left_out]
    assert sum(counts) == total - text
    assert [part.split(",")[0] for part in source.left_out] == {
        "gemma3_text": ["pooling head of the vision tower"],
        "gemma4_text": [],
        "gemma4_unified_text": [],
    }[source.components["text"].spec.model_type]


def test_the_architecture_and_tensors_give_the_whole_models_logits(
    model: Any, source: HuggingFaceSource
) -> None:
    tokens = torch.randint(6, 262, (40,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.set_attn_implementation("eager")
        whole = model(input_ids=tokens[None], use_cache=False).logits[0]
    ours = transformers_logits(source.architecture, values_of(source), tokens)
    assert (ours - whole).abs().max() <= TOLERANCE
    assert whole.std() > 0.5, "logits of the fixture are nearly uniform: it would prove nothing"


def test_the_architecture_survives_json(source: HuggingFaceSource) -> None:
    assert json.loads(json.dumps(dict(source.architecture))) == source.architecture


@pytest.mark.parametrize("make", [gemma3, gemma4], ids=lambda make: make.__name__)
def test_an_adapter_of_the_whole_model_is_merged_into_the_text_model(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    whole = make().eval()
    whole.save_pretrained(tmp_path / "base")
    write_tokenizer(tmp_path / "base")
    adapted = get_peft_model(whole, LoraConfig(r=4, target_modules=r".*language_model.*\.q_proj"))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(str(tmp_path / "adapter"))
    source = LoraSource.open(HuggingFaceSource.open(tmp_path / "base"), tmp_path / "adapter")
    merged: Any = adapted.merge_and_unload()
    merged_state = merged.model.language_model.state_dict()
    assert len(source.rewritten) == len(source.components["text"].spec.layers)
    tower = source.components["vision"].weights[0]
    assert source.tensors[tower.name].shape == tower.shape
    np.testing.assert_array_equal(source.rows(tower.name, 0, 2), source.base.rows(tower.name, 0, 2))
    for name in source.rewritten:
        theirs = merged_state[name.removeprefix("model.")].detach().numpy()
        ours = source.rows(name, 0, len(theirs))
        np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=name)
        assert np.abs(ours - source.base.rows(name, 0, len(theirs))).max() > 0.1


@pytest.mark.parametrize(
    "config", [tiny_gemma3, tiny_gemma4_e2b, tiny_gemma4_12b], ids=lambda make: make.__name__
)
def test_a_text_model_that_transformers_saved_alone_is_read_alike(
    config: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config()))
    model.save_pretrained(tmp_path)
    write_tiny_tokenizer(tmp_path)
    source = HuggingFaceSource.open(tmp_path)
    assert source.components["text"].spec == read_spec(config(), "config.json")
    assert source.left_out == ()
    theirs = {name: tensor.numpy() for name, tensor in model.model.state_dict().items()}
    assert {name.removeprefix("model.") for name in source.tensors} == set(theirs)
    for name, values in theirs.items():
        np.testing.assert_array_equal(source.rows(f"model.{name}", 0, len(values)), values, err_msg=name)


@pytest.mark.parametrize(
    ("model_id", "vision", "audio", "left_out"),
    [
        (
            "gemma-3-4b",
            {
                "model_type": "siglip_vision_model",
                "hidden_size": 1152,
                "image_size": 896,
                "intermediate_size": 4304,
                "num_attention_heads": 16,
                "num_hidden_layers": 27,
                "patch_size": 14,
                "vision_use_head": False,
            },
            None,
            ("vision tower, 417 M parameters", "vision projector, 3.0 M parameters"),
        ),
        (
            "gemma-4-e2b",
            {"model_type": "gemma4_vision", "use_clipped_linears": True},
            {"model_type": "gemma4_audio"},
            (
                "vision tower, 167 M parameters",
                "vision projector, 1.2 M parameters",
                "audio tower, 305 M parameters",
                "audio projector, 2.4 M parameters",
            ),
        ),
        (
            "gemma-4-12b",
            {"model_type": "gemma4_unified_vision"},
            {"model_type": "gemma4_unified_audio"},
            ("vision embedder, 50 M parameters", "audio embedder, 2.5 M parameters"),
        ),
    ],
)
def test_the_towers_of_true_sizes_are_counted(
    model_id: str, vision: dict[str, Any], audio: dict[str, Any] | None, left_out: tuple[str, ...]
) -> None:
    """Names and shapes of transformers' whole model, without its weights."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    family, text = PUBLISHED[model_id]
    towers = {"vision_config": vision} | ({} if audio is None else {"audio_config": audio})
    with torch.device("meta"):
        whole = AutoModelForImageTextToText.from_config(
            AutoConfig.for_model(family, text_config=text, **towers)
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in whole.state_dict().items()}
    spec = published_spec(model_id)
    found = find_text_tensors(shapes, spec, MULTIMODAL[family], model_id)
    assert set(found.stored) - {"lm_head.weight"} == {weight.name for weight in spec.weights()}
    assert describe_left_out(found.left_out, shapes) == left_out
