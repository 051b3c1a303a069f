"""What transformers.js answers in Node about pictures and a sound, for tests.

Not about what it should answer.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.web_engines import PACKAGES

SCRIPT = Path(__file__).parent / "web_answer.mjs"


def answer_in_node(release: Path, scratch: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """asked: `prompt`, or `messages` for its template; `new_tokens`; whether its class is `gemma4`'s; paths
    of `pictures`, and of a `sound` of 16 bits in one channel, or None."""
    order, answer = scratch / "order.json", scratch / "answer.json"
    given = {"release": str(release), "packages": str(PACKAGES.resolve()), "answer": str(answer)}
    order.write_text(json.dumps({"pictures": [], **given, **asked}), encoding="utf-8")
    run = subprocess.run(["node", str(SCRIPT), str(order)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    found: dict[str, Any] = json.loads(answer.read_bytes())
    return found
