"""What a checkpoint directory is called and holds on the Hub: the files we read, and no others.

Not about reading them (`weight_files`, `token_facts`, `directory_tokenizer`) or fetching them (`hub`).
"""

from __future__ import annotations

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"
TOKENIZER, SENTENCEPIECE = "tokenizer.json", "tokenizer.model"
TOKENIZER_CONFIG, CHAT_TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
# Where processors of transformers 4 have their template, slow tokenizers what was added to them, and
# transformers the templates beside the default one.
PROCESSOR_TEMPLATE, ADDED_TOKENS = "chat_template.json", "added_tokens.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"  # counts for more than TOKENIZER_CONFIG
ADDITIONAL_TEMPLATES = "additional_chat_templates"

# Beside the weights: numbers and tokenizer. A checkpoint's identity takes in those that are there.
SMALL_FILES = (
    CONFIG, GENERATION_CONFIG, WEIGHTS_INDEX, TOKENIZER, SENTENCEPIECE, TOKENIZER_CONFIG, CHAT_TEMPLATE,
    PROCESSOR_TEMPLATE, ADDED_TOKENS, SPECIAL_TOKENS_MAP,
)  # fmt: skip

# How pictures are prepared; looked at where there is a tower, and then part of the identity.
PROCESSOR, IMAGE_PROCESSOR = "processor_config.json", "preprocessor_config.json"
PROCESSOR_FILES = (PROCESSOR, IMAGE_PROCESSOR)

# Where the publisher states the licence.
MODEL_CARD = "README.md"

# What travels with a licence; patterns, as upper and lower case are both about.
LEGAL_FILES = (
    "LICEN[CS]E*", "Licen[cs]e*", "licen[cs]e*", "NOTICE*", "Notice*", "notice*", "COPYING*", "*TERMS*",
    "*terms*", "*USE_POLICY*", "*use_policy*",
)  # fmt: skip

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
