"""Keys of config.json that change nothing the model computes, whoever wrote them.

Not about keys with a meaning: the readers in `exporter.models.text.families` ask for those.
Sources: `PretrainedConfig` of transformers 4 (4.57) and 5 (5.23), whose constructors name every key below
"saved by transformers"; config.json files published by unsloth, transformers.js and others.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# How a model was saved and is loaded.
SAVED = frozenset(
    {
        "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
        "_commit_hash", "_experts_implementation", "_experts_implementation_internal",
        "_flash_attn_2_enabled", "_name_or_path", "_pre_quantization_dtype",
        "architectures", "attn_implementation", "attribute_map", "auto_map", "chunk_size_feed_forward",
        "custom_pipelines", "dtype", "experts_implementation", "keys_to_ignore_at_inference", "model_type",
        "name_or_path", "output_attentions", "output_hidden_states", "quantization_config", "return_dict",
        "torch_dtype", "torchscript", "transformers_version", "transformers_weights", "use_bfloat16",
        "use_cache",
    }
)  # fmt: skip

# How it was trained, or classified with.
TRAINED = frozenset(
    {
        "_num_labels", "attention_dropout", "classifier_dropout", "finetuning_task",
        "gradient_checkpointing", "id2label", "initializer_range", "label2id", "loss_type",
        "neftune_noise_alpha", "num_labels", "problem_type", "task_specific_params", "tf_legacy_loss",
    }
)  # fmt: skip

# How it is sampled from, and which tokens begin and end: generation keys of transformers 4.
SAMPLED = frozenset(
    {
        "assistant_confidence_threshold", "assistant_lookbehind", "bad_words_ids", "begin_suppress_tokens",
        "bos_token_id", "cache_implementation", "decoder_start_token_id", "diversity_penalty", "do_sample",
        "early_stopping", "encoder_no_repeat_ngram_size", "encoder_repetition_penalty", "eos_token_id",
        "epsilon_cutoff", "eta_cutoff", "exponential_decay_length_penalty", "forced_bos_token_id",
        "forced_eos_token_id", "length_penalty", "max_length", "max_new_tokens", "min_length",
        "no_repeat_ngram_size", "num_assistant_tokens", "num_assistant_tokens_schedule", "num_beam_groups",
        "num_beams", "num_return_sequences", "output_scores", "pad_token_id", "prefix",
        "remove_invalid_values", "repetition_penalty", "return_dict_in_generate", "sep_token_id",
        "suppress_tokens", "target_lookbehind", "temperature", "tokenizer_class", "top_k", "top_p",
        "typical_p",
    }
)  # fmt: skip

# What other tools note for themselves. `pretraining_tp` splits matrices of other architectures, without
# changing what they give.
OTHER_TOOLS = frozenset(
    {
        "_unsloth_fixed", "max_seq_length", "model_max_length", "model_name", "pretraining_tp",
        "tokenizer_model_max_length", "tokenizer_padding_side", "transformers.js_config",
        "unsloth_fixed", "unsloth_processed", "unsloth_version",
    }
)  # fmt: skip
PREFIXES = ("unsloth_",)

# Keys that would change the model, with the values that do not.
NEUTRAL: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "add_cross_attention": (False, None),
        "compression_config": (None,),
        "cross_attention_hidden_size": (None,),
        "is_causal": (True, None),
        # A Gemma is a decoder whatever it says: transformers 4 saved false with every model.
        "is_decoder": (False, True, None),
        "is_encoder_decoder": (False, None),
        "pruned_heads": ({}, [], None),
        "tie_encoder_decoder": (False, None),
    }
)

IRRELEVANT = (SAVED | TRAINED | SAMPLED | OTHER_TOOLS) - set(NEUTRAL)


def changes_nothing(key: str) -> bool:
    """Whether a key may hold anything at all."""
    return key in IRRELEVANT or key.startswith(PREFIXES)
