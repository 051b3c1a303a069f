"""`Modality`: what is different about checking pictures and about checking sounds: samples, drivers, words.

Not about the checks, which are the same (`tower_check`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.formats.table import facts_of
from exporter.models.vision.spec import VisionSpec
from exporter.reference.reference_tower import TowerSpec
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.report import Kind
from exporter.validation.sample_pictures import sample_pictures
from exporter.validation.sample_sounds import sample_sounds
from exporter.validation.samples import Samples
from runtimes.manifest import ComponentName, EncoderArtifact
from runtimes.multimodal.session import RowKind


@dataclass(frozen=True)
class Modality:
    """kind: of its gates. of: what rows are rows of. sample, tower: what these are called. senseless: a run
    whose rows are nothing. question: asked behind each sample. advice: where no sample fits a context.
    limits: what samples are, and what had no part in them. file: below samples/, of the first sample."""

    kind: Kind
    component: ComponentName
    of: RowKind
    sample: str
    tower: str
    senseless: str
    question: str
    advice: str
    limits: str
    file: str
    samples: Callable[[ReleaseUnderTest], Samples]
    spec: Callable[[ReleaseUnderTest], TowerSpec]
    by_tools: Callable[[EncoderArtifact, TowerSpec], str | None]

    @property
    def senseless_kl(self) -> str:
        """What the gate on such a run is called."""
        return f"mean KL of a {self.senseless} run"

    def encoders(self, release: ReleaseUnderTest) -> tuple[EncoderArtifact, ...]:
        """The release's, for this."""
        return tuple(each for each in release.encoders if each.component == self.component)


def _images_by_tools(encoder: EncoderArtifact, spec: TowerSpec) -> str | None:
    said = facts_of(encoder.format).asked_by_tools
    return None if said is None or not isinstance(spec, VisionSpec) else said(spec.tokens.blocks)


def _sounds_by_tools(encoder: EncoderArtifact, spec: TowerSpec) -> str | None:
    return facts_of(encoder.format).heard_by_tools


IMAGES = Modality(
    kind="images",
    component="vision",
    of="image",
    sample="picture",
    tower="image tower",
    senseless="blind",
    question="\nDescribe this picture in one sentence.\n",
    advice="export with a larger --context or fewer --image-tokens",
    limits="The pictures were gemma-export's own samples, prepared as image_processing.json says. Neither "
    "a camera nor, but on execution paths that say so, an app that resizes pictures in a way of its own "
    "took part.",
    file="images/quadrants.png",
    samples=sample_pictures,
    spec=lambda release: release.checkpoint.components["vision"].spec,
    by_tools=_images_by_tools,
)
SOUNDS = Modality(
    kind="sounds",
    component="audio",
    of="sound",
    sample="sound",
    tower="audio encoder",
    senseless="deaf",
    question="\nDescribe this sound in one sentence.\n",
    advice="export with a larger --context",
    limits="The sounds were gemma-export's own samples, prepared as sound_processing.json says. Neither "
    "a voice, nor a microphone, nor, but on execution paths that say so, an app that resamples sounds or "
    "makes spectra in a way of its own took part.",
    file="sounds/chirp.wav",
    samples=sample_sounds,
    spec=lambda release: release.checkpoint.components["audio"].spec,
    by_tools=_sounds_by_tools,
)
MODALITIES = (IMAGES, SOUNDS)
