"""What runs in the process that renders a template: the Jinja environment that transformers has.

Not about what is rendered, nor about what it may cost (`template_rendering`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn

from exporter.asked_process import Question, Reply, reply_to

# Marks for training, which only transformers knows: they render what is between them.
GENERATION = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")
COMMENT = r"{#\1 \2#}"
LONGEST = 1 << 20  # characters of a prompt; no conversation that is rendered here has a thousand


class TemplateRefusal(Exception):
    """Raised by a template itself."""


def answer_contexts(order: Question) -> Iterator[Reply]:
    """An answer for each of the order's contexts: rendered, or refused by the template, or failed."""
    try:
        template = _environment().from_string(GENERATION.sub(COMMENT, order["template"]))
    except Exception as error:  # Jinja's own errors, and Python's: constants are worked out here already
        yield from (_failed(error) for _ in order["contexts"])
        return
    for context in order["contexts"]:
        yield _render(template, context)


def _render(template: Any, context: Mapping[str, Any]) -> Reply:
    found, length = [], 0
    try:
        for piece in template.generate(**context):
            found.append(piece)
            length += len(piece)
            if length > LONGEST:
                return {"stopped": f"writes more than {LONGEST} characters"}
        return {"rendered": "".join(found).encode("utf-8").decode("utf-8")}
    except TemplateRefusal as error:
        return {"refused": str(error)}
    except Exception as error:  # a template can fail in any way Python can
        return _failed(error)


def _failed(error: Exception) -> Reply:
    if isinstance(error, MemoryError):
        return {"stopped": "takes more memory than a template may"}
    return {"failed": f"{type(error).__name__}: {error}"}


def _environment() -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _refuse(message: object) -> NoReturn:
    raise TemplateRefusal(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """transformers', which does not escape for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


if __name__ == "__main__":
    reply_to(answer_contexts)
