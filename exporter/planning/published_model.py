"""`published_model`: a published Gemma as it is planned for, before anything of it is fetched.

Not about what names there are (`exporter.models.published_names`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from exporter.checkpoints.open import published_name, require_components
from exporter.models.components import (
    EVERY_COMPONENT,
    AudioComponent,
    Components,
    TextComponent,
    VisionComponent,
)
from exporter.models.published import published_audio, published_spec, published_vision
from exporter.models.vision.spec import USUAL_SOFT_TOKENS, SiglipSpec
from exporter.planning.estimates import LONGEST_SOUND
from exporter.planning.planned_model import PlannedModel
from runtimes.manifest import ComponentName


def published_model(
    reference: str | None, adapter: Path | None, wanted: Collection[ComponentName] | None = None
) -> PlannedModel | None:
    """None for the sample, a directory or a file, and where an adapter may change shapes.

    wanted: components that it must have, and no others; None for all.
    Raises UsageError for a Gemma that is not exported, a name that is none, and a component it has not.
    """
    name = published_name(reference)
    if name is None or adapter is not None:
        return None
    kept = EVERY_COMPONENT if wanted is None else wanted
    vision = published_vision(name.model) if "vision" in kept else None
    audio = published_audio(name.model) if "audio" in kept else None
    components = Components(
        TextComponent(published_spec(name.model)),
        None if vision is None else VisionComponent(vision),
        None if audio is None else AudioComponent(audio),
    )
    require_components(name.model, components, wanted)
    usual = USUAL_SOFT_TOKENS if vision is not None else None
    usual = vision.soft_tokens if isinstance(vision, SiglipSpec) else usual
    sound = None if audio is None else LONGEST_SOUND
    return PlannedModel(name.model, components, {}, usual, sound)
