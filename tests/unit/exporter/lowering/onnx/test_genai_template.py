"""Templates as onnxruntime-genai is given them, and where they are written.

Rendered by genai itself in tests/parity/test_genai_templates.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.lowering.onnx.genai_config import copy_tokenizer
from exporter.lowering.onnx.genai_template import AS_IS, UPPER, genai_template
from exporter.schemes import INT8_CHANNEL
from tests.tiny import tiny_gemma3
from tests.tiny_releases import lowering_order, quantized

TOOLS = "{% for t in tools %}{{ t['function']['name'] }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ bos_token }}{%- if x %}a{% endif %}", None),
        ("{% if x", None),
        (TOOLS.replace("t", "tool", 1) + "{{ tool.function }}", None),
        (TOOLS, AS_IS + TOOLS),
        ("\n" + TOOLS, AS_IS + "{{ '' }}\n" + TOOLS),
        ("{{ x | upper }}", UPPER + "{{ x | upper }}"),
        ("{{ x.upper() }}", UPPER + "{{ (x|upper) }}"),
        ("a\n  {% if x %}\nb\n  {% endif %}\n\nc", "a\n{% if x %}b\n{% endif %}{{ '' }}\nc"),
    ],
)
def test_only_what_genai_would_render_otherwise_is_rewritten(template: str, said: str | None) -> None:
    assert genai_template(template) == (template if said is None else said)


@pytest.mark.parametrize("held", [None, TOOLS])
def test_the_config_that_holds_the_template_too_is_given_the_same(held: str | None, tmp_path: Path) -> None:
    checkpoint = quantized(tmp_path, tiny_gemma3(), INT8_CHANNEL)
    order = lowering_order(checkpoint, tmp_path, chat_template=TOOLS)
    config = tmp_path / "tokenizer_config.json"
    stated = json.loads(config.read_bytes()) | ({"chat_template": held} if held else {})
    config.write_text(json.dumps(stated), encoding="utf-8")
    (out := tmp_path / "onnx").mkdir()
    copy_tokenizer(order, out)
    assert (out / "chat_template.jinja").read_text(encoding="utf-8") == AS_IS + TOOLS
    found = json.loads((out / config.name).read_bytes())
    assert found == stated | ({"chat_template": AS_IS + TOOLS} if held else {})
    assert held or (out / config.name).read_bytes() == config.read_bytes()
