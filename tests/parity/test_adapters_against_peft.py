"""Adapters as peft saves them, merged by us and by peft's `merge_and_unload`, in float32.

Matrix: each feature of a LoraConfig that changes how weights merge on a tiny Gemma 3, those that meet a
family's structure on Gemma 1, 2, 4 E2B and 4 12B too. Where peft's merge would write a LoRA of the
embedding or the head into the matrix they share, the base is untied first, as peft advises; the logits of
the adapted model before any merge hold us to that being what was trained. Not asserted: what is refused
(tests/unit/exporter/checkpoints/adapters).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exporter.checkpoints.adapters.source import LoraSource
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.interface import CheckpointSource
from tests.checkpoints import write_huggingface
from tests.reference import transformers_logits
from tests.tiny import TINY_CONFIGS, VOCABULARY

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft")  # what it warns of is what we test

FAMILIES = ("Gemma 1", "Gemma 2", "Gemma 3", "Gemma 4 E2B", "Gemma 4 12B")
EVERYWHERE = (
    "DoRA, rank stabilised, patterns",
    "every linear",
    "some tokens",
    "LoRA of both",
    "everything",
    "DoRA of the embedding, tied",
    "DoRA of the head, tied",
    "alphas of their own, tied",
)
SAME = 1e-6  # of a weight, relative to its largest
SAME_LOGITS = 1e-4
GROWN = VOCABULARY + 8
TARGETS = ["q_proj", "o_proj", "down_proj"]
BOTH = ["embed_tokens", "lm_head"]

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Case:
    """settings: of the LoraConfig. rows: of the embedding after resizing. untied: peft advises to untie the
    base before it merges this. two: embedding and head are two matrices afterwards. twice: peft's merge
    adds the update to one matrix under both its names, so its model before the merge is what counts."""

    settings: dict[str, Any] = field(default_factory=dict)
    rows: int = VOCABULARY
    untied: bool = False
    two: bool = False
    saved: dict[str, Any] = field(default_factory=dict)
    twice: bool = False


def case(**settings: Any) -> Case:
    return Case(settings)


PATTERNS = {
    "rank_pattern": {
        r"layers\.[12]\.self_attn\.q_proj": 8,
        "down_proj": 2,
        "^model.layers.0.self_attn.o_proj": 3,
    },
    "alpha_pattern": {r"^model\.layers\.2\..*": 3, "q_proj": 32},
}
TIED_DORA = {"ensure_weight_tying": True, "use_dora": True}
CASES = {
    "plain": case(),
    "rank stabilised": case(use_rslora=True),
    "patterns of rank and alpha": case(**PATTERNS),
    "patterns, rank stabilised": case(**PATTERNS, use_rslora=True),
    "DoRA": case(use_dora=True),
    "DoRA, rank stabilised, patterns": case(use_dora=True, use_rslora=True, **PATTERNS),
    "biases, fan in fan out, dropout": case(bias="all", fan_in_fan_out=True, lora_dropout=0.3),
    "every linear": case(target_modules="all-linear"),
    "one pattern of targets": case(target_modules=r"model\.layers\.\d+\.(mlp|self_attn)\.(up|q|gate)_proj"),
    "some layers": case(layers_to_transform=[0, 2], layers_pattern="layers"),
    "one layer": case(layers_to_transform=1),
    "exclusions": case(exclude_modules=r".*layers\.[01]\..*o_proj"),
    "gaussian": case(init_lora_weights="gaussian"),
    "orthogonal": case(init_lora_weights="orthogonal"),
    "EVA": case(init_lora_weights="eva"),
    "MiCA": case(init_lora_weights="mica"),
    "random": case(init_lora_weights=False),
    "VeLoRA": case(velora_config={"num_groups": 4}),
    "norms and linears saved whole": case(modules_to_save=["input_layernorm", "norm", "up_proj"]),
    "embedding saved": Case({"modules_to_save": ["embed_tokens"]}, two=True),
    "head saved": Case({"modules_to_save": ["lm_head"]}, two=True),
    "both saved": Case({"modules_to_save": BOTH}, two=True),
    "both saved, tied": case(modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    "head saved, tied": case(modules_to_save=["lm_head"], ensure_weight_tying=True),
    "embeddings saved that were not trained": Case(saved={"save_embedding_layers": True}),
    "some tokens": case(trainable_token_indices=[3, 200, 7]),
    "the same tokens of both": case(trainable_token_indices={"embed_tokens": [3, 7], "lm_head": [3, 7]}),
    "LoRA of the embedding": Case({"target_modules": [*TARGETS, "embed_tokens"]}, untied=True, two=True),
    "LoRA of the head": Case({"target_modules": [*TARGETS, "lm_head"]}, untied=True, two=True),
    "LoRA of both": Case({"target_modules": [*TARGETS, *BOTH]}, untied=True, two=True),
    "DoRA of both": Case({"target_modules": [*TARGETS, *BOTH], "use_dora": True}, untied=True, two=True),
    "LoRA of the embedding, tied": Case(
        {"target_modules": [*TARGETS, "embed_tokens"], "ensure_weight_tying": True}, twice=True
    ),
    "LoRA of the head, tied": Case(
        {"target_modules": [*TARGETS, "lm_head"], "ensure_weight_tying": True}, twice=True
    ),
    "DoRA of the embedding, tied": Case(
        {"target_modules": [*TARGETS, "embed_tokens"], **TIED_DORA}, two=True, twice=True
    ),
    "DoRA of the head, tied": Case(
        {"target_modules": [*TARGETS, "lm_head"], **TIED_DORA}, two=True, twice=True
    ),
    "alphas of their own, tied": Case(
        {
            "target_modules": [*TARGETS, "lm_head"],
            "ensure_weight_tying": True,
            "rank_pattern": {"embed_tokens": 3},
            "alpha_pattern": {"lm_head": 32},
        },
        two=True,
        twice=True,
    ),
    "other tokens of the head": Case(
        {"trainable_token_indices": {"embed_tokens": [3, 7], "lm_head": [3, 8]}}, untied=True, two=True
    ),
    "tokens of the head": Case({"trainable_token_indices": {"lm_head": [3, 8]}}, untied=True, two=True),
    "everything": Case(
        {
            **PATTERNS,
            "use_dora": True,
            "use_rslora": True,
            "modules_to_save": [*BOTH, "post_attention_layernorm"],
            "target_modules": "all-linear",
            "exclude_modules": ["up_proj"],
            "bias": "lora_only",
        },
        two=True,
    ),
}
TWO_TABLES = {
    "LoRA of the second table and of what reads it": case(
        target_modules=["embed_tokens_per_layer", "per_layer_model_projection", "per_layer_input_gate"]
    ),
    "DoRA of the second table": case(target_modules=["embed_tokens_per_layer"], use_dora=True),
    "some tokens of both tables": case(
        trainable_token_indices={"embed_tokens": [3, 7], "embed_tokens_per_layer": [3, 7, 9]}
    ),
    "the second table saved": case(modules_to_save=["embed_tokens_per_layer", "per_layer_projection"]),
}
GROWING = {
    "rows added": Case(rows=GROWN),
    "rows added, embedding and head saved": Case({"modules_to_save": BOTH}, rows=GROWN, two=True),
    "rows added, the embedding saved": Case({"modules_to_save": ["embed_tokens"]}, rows=GROWN, two=True),
    "rows added, both saved, tied": Case(
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, rows=GROWN
    ),
    "rows added and trained": Case({"trainable_token_indices": [*range(VOCABULARY, GROWN), 5]}, rows=GROWN),
    "rows added, LoRA of both": Case(
        {"target_modules": [*TARGETS, *BOTH]}, rows=GROWN, untied=True, two=True
    ),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small take longer to share out than to multiply."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("bases")
    return {family: write_huggingface(place / family, TINY_CONFIGS[family]()) for family in FAMILIES}


@cache
def loaded(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


def model_of(base: Path, rows: int, untied: bool = False) -> Any:
    """transformers' model of a base, its embedding resized where peft's users do that."""
    model = copy.deepcopy(loaded(base))
    if rows != VOCABULARY:
        torch.manual_seed(5)
        model.resize_token_embeddings(rows)
    if untied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone())
    return model


def train(base: Path, adapter: Path, case: Case) -> None:
    """Save an adapter as peft does, each of its trained numbers moved."""
    from peft import LoraConfig, get_peft_model

    settings = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": TARGETS,
        "task_type": "CAUSAL_LM",
        **case.settings,
    }
    adapted = get_peft_model(model_of(base, case.rows), LoraConfig(**settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    adapted.save_pretrained(str(adapter), **case.saved)


def values_of(source: CheckpointSource) -> Weights:
    """Every weight, in two uneven pieces."""
    found = {}
    for name, tensor in source.tensors.items():
        cut = tensor.shape[0] // 3
        pieces = [source.rows(name, 0, cut)] if cut else []
        found[name] = np.concatenate([*pieces, source.rows(name, cut, tensor.shape[0])])
    return found


def hold_against_peft(base: Path, adapter: Path, case: Case) -> None:
    from peft import PeftModel

    source = LoraSource.open(HuggingFaceSource.open(base), adapter)
    assert source.components["text"].spec.tied_embedding is not case.two
    assert source.components["text"].spec.vocab_size == case.rows
    ours = values_of(source)
    merged = PeftModel.from_pretrained(
        model_of(base, case.rows, case.untied), str(adapter)
    ).merge_and_unload()
    theirs = {name: values.detach().numpy() for name, values in merged.state_dict().items()}
    if case.twice:
        del theirs["model.embed_tokens.weight"], theirs["lm_head.weight"]
    assert set(theirs) - set(ours) == (set() if case.two or case.twice else {"lm_head.weight"})
    for name, expected in theirs.items():
        found = ours.get(name, ours["model.embed_tokens.weight"])
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        assert difference <= SAME, (name, difference)
    plain = HuggingFaceSource.open(base)
    assert any(
        name not in plain.tensors or not np.array_equal(ours[name], plain.rows(name, 0, len(ours[name])))
        for name in source.rewritten
    )
    if case.two or case.twice:
        hold_against_trained(source.architecture, ours, base, adapter, case)


def hold_against_trained(
    architecture: Mapping[str, Any], ours: Weights, base: Path, adapter: Path, case: Case
) -> None:
    """The logits of peft's model with nothing merged."""
    from peft import PeftModel

    tokens = torch.tensor([2, 40, 3, 120, 7, 33, 200, 8, case.rows - 1])
    trained: Any = PeftModel.from_pretrained(model_of(base, case.rows), str(adapter)).eval()
    trained.base_model.model.set_attn_implementation("eager")
    with torch.no_grad():
        expected_logits = trained(input_ids=tokens[None], use_cache=False).logits[0]
    found_logits = transformers_logits(architecture, ours, tokens)
    assert (found_logits - expected_logits).abs().max() <= SAME_LOGITS


@pytest.mark.parametrize(
    ("name", "family"),
    [(name, "Gemma 3") for name in CASES]
    + [(name, family) for name in EVERYWHERE for family in FAMILIES if family != "Gemma 3"],
)
def test_a_merged_adapter_is_what_peft_merges_and_what_it_trained(
    name: str, family: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    train(bases[family], tmp_path, CASES[name])
    hold_against_peft(bases[family], tmp_path, CASES[name])


@pytest.mark.parametrize("name", TWO_TABLES)
def test_the_second_table_of_a_gemma_4_e_is_a_matrix_like_others(
    name: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    train(bases["Gemma 4 E2B"], tmp_path, TWO_TABLES[name])
    hold_against_peft(bases["Gemma 4 E2B"], tmp_path, TWO_TABLES[name])


@pytest.mark.parametrize("name", GROWING)
def test_rows_an_adapter_added_to_the_vocabulary_are_its_own(
    name: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    train(bases["Gemma 3"], tmp_path, GROWING[name])
    hold_against_peft(bases["Gemma 3"], tmp_path, GROWING[name])
