"""`coreml/vision.mlpackage` and `coreml/audio.mlpackage`: towers beside the decoder that takes their rows.

Not about the graphs (`vision_conversion`, `audio_conversion`) or the decoder's functions (`conversion`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from exporter.lowering.coreml.audio_conversion import convert_encoder
from exporter.lowering.coreml.binding import bind
from exporter.lowering.coreml.package import AUDIO_TOKEN, IMAGE_TOKEN, describe, write_package
from exporter.lowering.coreml.traced_program import ConvertedProgram
from exporter.lowering.coreml.vision_conversion import convert_tower
from exporter.lowering.interface import LoweringOrder
from exporter.models.vision.spec import BlockLayers
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import StoredAudio, StoredTower, StoredVision
from runtimes.manifest import EncoderArtifact


@dataclass(frozen=True)
class OrderedTower:
    """A tower to lower. soft_tokens: of one picture or sound, at most."""

    stored: StoredTower
    soft_tokens: int

    @property
    def title(self) -> str:
        return "image tower" if isinstance(self.stored, StoredVision) else "audio encoder"

    def artifact(self, directory: str, decoder: str) -> EncoderArtifact:
        """What a release says of it in its directory, where the package `decoder` takes its rows."""
        component = self.stored.component.name
        return EncoderArtifact(
            component=component,
            format="coreml",
            path=f"{directory}/{component}.mlpackage",
            decoder=decoder,
            soft_tokens=self.soft_tokens,
            width=self.stored.spec.text_hidden_size,
        )

    def converted(self) -> ConvertedProgram:
        match self.stored:
            case StoredVision(spec=spec, vectors=vectors):
                return convert_tower(spec, vectors, self.soft_tokens)
            case StoredAudio(spec=spec, vectors=vectors):
                return convert_encoder(spec, vectors, self.soft_tokens)
            case _:
                assert_never(self.stored)

    @property
    def soft_token(self) -> tuple[str, str]:
        """Name and value of the decoder's fact that says which id stands in its rows' places."""
        name = IMAGE_TOKEN if isinstance(self.stored, StoredVision) else AUDIO_TOKEN
        return name, str(self.stored.spec.tokens.soft)

    def described(self) -> str:
        spec = self.stored.spec
        given = "a picture" if isinstance(self.stored, StoredVision) else "a sound"
        return (
            f"Gemma {self.title} ({spec.model_type}): {given} to rows that take the place of tokens' "
            "embeddings. Made by gemma-export; checked on this file's bytes by a MIL evaluator, not on "
            "Apple hardware."
        )


def ordered_towers(order: LoweringOrder) -> tuple[OrderedTower, ...]:
    """The towers to lower: of what is ordered, those that the checkpoint has."""
    return tuple(_ordered(order))


def _ordered(order: LoweringOrder) -> Iterator[OrderedTower]:
    components = order.checkpoint.components
    if order.images is not None and components.vision is not None:
        yield OrderedTower(components.vision, order.images.soft_tokens)
    if order.sounds is not None and components.audio is not None:
        yield OrderedTower(components.audio, order.sounds.soft_tokens)


def image_blocks(towers: Sequence[OrderedTower]) -> BlockLayers | None:
    """Where the tokens of an image see each other; None where no images are taken."""
    found = (each.stored.spec.tokens.blocks for each in towers if isinstance(each.stored, StoredVision))
    return next(found, None)


def write_tower(tower: OrderedTower, package: Path, order: LoweringOrder, progress: Progress) -> None:
    """Write the tower's package. Peak memory is the trace of one small picture or sound whose matrices are
    not computed, and a few row chunks."""
    progress(f"convert the {tower.title} to Core ML", 0, 1)
    program = tower.converted()
    progress(f"convert the {tower.title} to Core ML", 1, 1)
    weights = bind(program, tower.stored.matrices)
    facts = {"soft_tokens": str(tower.soft_tokens)}
    describe(program.model, tower.described(), order.made_from, facts)
    total = weights.nbytes
    write_package(
        package,
        program.model,
        weights,
        lambda done: progress(f"write the {tower.title}'s weight.bin", done, total),
    )
