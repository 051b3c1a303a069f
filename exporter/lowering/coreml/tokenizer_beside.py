"""What lies beside a Core ML package for swift-transformers: tokenizer, chat template and config.json.

swift-transformers ends generation at the tokenizer's eos_token and nowhere else, so that token is the one
the chat template ends an answer with; config.json has all of them, for whoever reads that. Not about the
package.
"""

from __future__ import annotations

import json
from pathlib import Path

from exporter.errors import LoweringError
from exporter.lowering.interface import LoweringOrder
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.strict_json import StrictJsonError, read_json_object

CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = ("tokenizer.json", CONFIG)
TEMPLATE_NAME = "chat_template.jinja"
EOS = "eos_token"


def write_beside(order: LoweringOrder, checkpoint: QuantizedCheckpoint, directory: Path) -> None:
    """What swift-transformers' AutoTokenizer.from(modelFolder:) reads."""
    for name in TOKENIZER_FILES:
        (directory / name).write_bytes((order.tokenizer / name).read_bytes())
    config = {**checkpoint.record["architecture"], "eos_token_id": list(order.stop_tokens)}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (directory / "config.json").write_text(text, encoding="utf-8")
    template = order.chat_template
    if order.turn_end is not None:
        template = _end_turns(directory / CONFIG, order.turn_end, template)
    if template is not None:
        (directory / TEMPLATE_NAME).write_text(template, encoding="utf-8")


def _end_turns(path: Path, turn_end: str, template: str | None) -> str | None:
    """Call `turn_end` the end of text in a tokenizer_config.json. Returns the template, made to render what
    was called so before, where it asks for it."""
    try:
        config = read_json_object(path)
    except (OSError, StrictJsonError) as error:
        raise LoweringError(path, f"cannot be read as JSON ({error})", "fetch it again") from error
    stated = config.get(EOS)
    eos = stated.get("content") if isinstance(stated, dict) else stated
    if eos == turn_end:
        return template
    config[EOS] = turn_end
    if template is not None and EOS in template and isinstance(eos, str):
        template = f"{{%- set {EOS} = {json.dumps(eos)} -%}}" + template
        if "chat_template" in config:
            config["chat_template"] = template
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return template
