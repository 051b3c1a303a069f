"""config.json to `ModelSpec`: one architecture per file, and the table that names them all.

Not about computing: the numbers are all that differs between families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.refused import refuse_config
from exporter.models.text.families.gemma import read_gemma
from exporter.models.text.families.gemma2 import read_gemma2
from exporter.models.text.families.gemma3 import read_gemma3_text
from exporter.models.text.families.gemma4 import read_gemma4_text, read_gemma4_unified_text
from exporter.models.text.families.limits import refuse_impossible_numbers, refuse_impossible_spec
from exporter.models.text.families.vaultgemma import read_vaultgemma
from exporter.models.text.spec import ModelSpec
from runtimes.excerpt import excerpt

READERS: dict[str, Callable[[StrictConfig], ModelSpec]] = {
    "gemma": read_gemma,
    "gemma2": read_gemma2,
    "gemma3_text": read_gemma3_text,
    "gemma4_text": read_gemma4_text,
    "gemma4_unified_text": read_gemma4_unified_text,
    "vaultgemma": read_vaultgemma,
}


def read_spec(
    raw: Mapping[str, Any], where: str, file: Path | None = None, keys: tuple[str, ...] = ()
) -> ModelSpec:
    """The spec of a config.json already loaded. `where` names the file in errors; `file`, and the keys that
    lead to `raw` in it, give the lines.

    Raises SpecError for a model that is not supported, for keys that are missing, wrong or unknown, and for
    numbers that are impossible. Nothing is made as large as a number says before that is known.
    """
    model_type = raw.get("model_type")
    reader = READERS.get(model_type) if isinstance(model_type, str) else None
    refuse_config(raw, where)
    if reader is None:
        raise SpecError(
            f"{where}.model_type",
            f"{excerpt(model_type)} is not supported",
            f"supported are {', '.join(sorted(READERS))}",
        )
    refuse_impossible_numbers(raw, where)
    config = StrictConfig(where, raw, file, keys)
    spec = reader(config)
    config.refuse_unread()
    refuse_impossible_spec(spec, where)
    return spec
