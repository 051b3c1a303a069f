"""config.json to `ModelSpec`: one architecture per file, and the table that names them all.

Not about computing: the numbers are all that differs between families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.refused import SUPPORTED, refused_type
from exporter.models.text.families.gemma import read_gemma
from exporter.models.text.families.gemma2 import read_gemma2
from exporter.models.text.families.gemma3 import read_gemma3_text
from exporter.models.text.families.gemma4 import read_gemma4_text, read_gemma4_unified_text
from exporter.models.text.spec import ModelSpec

READERS: dict[str, Callable[[StrictConfig], ModelSpec]] = {
    "gemma": read_gemma,
    "gemma2": read_gemma2,
    "gemma3_text": read_gemma3_text,
    "gemma4_text": read_gemma4_text,
    "gemma4_unified_text": read_gemma4_unified_text,
}


def read_spec(raw: Mapping[str, Any], where: str) -> ModelSpec:
    """The spec of a config.json already loaded. `where` names the file in errors.

    Raises SpecError for an unknown model_type and for keys that are missing, wrong or unknown.
    """
    model_type = raw.get("model_type")
    reader = READERS.get(model_type) if isinstance(model_type, str) else None
    if reader is None and isinstance(model_type, str) and (refused := refused_type(model_type)) is not None:
        raise SpecError(
            f"{where}.model_type",
            f"{model_type!r} is {refused.title}, which is not supported: {refused.why}",
            SUPPORTED,
        )
    if reader is None:
        raise SpecError(
            f"{where}.model_type",
            f"{model_type!r} is not supported",
            f"supported are {', '.join(sorted(READERS))}",
        )
    config = StrictConfig(where, raw)
    spec = reader(config)
    config.refuse_unread()
    return spec
