"""`PlannedModel`: what planning knows of a model, weights aside.

Not about where that comes from (`exporter.planning.published_model`) or what is planned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from exporter.checkpoints.interface import CheckpointSource, HeldCodes
from exporter.models.components import Components
from exporter.models.text.spec import ModelSpec
from runtimes.manifest import ComponentName
from runtimes.sounds.processing import SoundLength


@dataclass(frozen=True)
class PlannedModel:
    """name: short, for directories. held: codes its source has, by matrix. soft_tokens: what its processor
    makes of an image, sound: the longest its encoder hears; None where it takes none. left_out, remarks: as
    its source has them."""

    name: str
    components: Components
    held: Mapping[str, HeldCodes]
    soft_tokens: int | None = None
    sound: SoundLength | None = None
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @staticmethod
    def of(source: CheckpointSource) -> PlannedModel:
        """A checkpoint that is open."""
        usual = None if source.images is None else source.images.soft_tokens
        sound = None if source.sounds is None else source.sounds.longest_sound
        remarks = (*source.remarks, *source.tokens.remarks)
        return PlannedModel(
            source.name, source.components, source.held, usual, sound, source.left_out, remarks
        )

    @property
    def spec(self) -> ModelSpec:
        return self.components["text"].spec

    def having(self, wanted: Collection[ComponentName]) -> PlannedModel:
        """The same with these of its components alone, the text model among them."""
        whole = self.components
        vision = whole.vision if "vision" in wanted else None
        audio = whole.audio if "audio" in wanted else None
        return replace(
            self,
            components=Components(whole.text, vision, audio),
            soft_tokens=None if vision is None else self.soft_tokens,
            sound=None if audio is None else self.sound,
        )
