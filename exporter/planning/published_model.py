"""`published_model`: a published Gemma as it is planned for, before anything of it is fetched.

Not about what names there are (`exporter.models.published_names`).
"""

from __future__ import annotations

from pathlib import Path

from exporter.checkpoints.open import published_name
from exporter.models.components import text_alone
from exporter.models.published import published_spec
from exporter.planning.planner import PlannedModel


def published_model(reference: str | None, adapter: Path | None) -> PlannedModel | None:
    """None for the sample, a directory or a file, and where an adapter may change shapes.

    Raises UsageError for a Gemma that is not exported, and for a name that is none.
    """
    name = published_name(reference)
    if name is None or adapter is not None:
        return None
    return PlannedModel(name.model, text_alone(published_spec(name.model)), {})
