"""Tiny models that see or hear, and releases of them to be checked: what tests of these gates share.

Not about who runs a release (`tests.seeing`, `tests.hearing`, or the formats' own drivers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.formats.rows_driver import RowsEncoder
from exporter.formats.table import family_of
from exporter.lowering.interface import ImageOrder, Lowering, LoweringOrder, SoundOrder
from exporter.planning.plan import Plan
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.modality import IMAGES, SOUNDS
from exporter.validation.tower_check import check_towers
from runtimes.formats import Format
from runtimes.images.processing import PROCESSING_NAME, ImageMarks, ImageProcessing
from runtimes.sounds.processing import SOUND_PROCESSING_NAME
from tests.fakes import change_archive, silent
from tests.image_processing import patching, squashing
from tests.jobs import a_job, a_plan, a_variant
from tests.sensing import EagerMultimodalSession, SensingLowering, eager_rows_driver
from tests.tiny_image_stores import GEMMA3_TOKENS, GEMMA4_TOKENS, tiny_image_store
from tests.tiny_releases import MADE_FROM
from tests.tiny_towers import BEGIN, END, SOFT

CHUNK, BUDGET = 8, 20
SEEING, HEARING = 320, 512  # tokens of a context


@dataclass(frozen=True)
class Sensing:
    """A tiny model that sees, int8, in a directory of its own. hears: and that hears, which is then what is
    checked."""

    kind: str
    place: Path
    source: HuggingFaceSource
    checkpoint: QuantizedCheckpoint
    hears: bool = False

    @property
    def context(self) -> int:
        return HEARING if self.hears else SEEING

    def plan(self, format: Format) -> Plan:
        return a_plan(self.source, a_variant("int8", (format,), context=self.context))

    def release(
        self, lowering: Lowering, name: str, format: Format = "onnx", chunk: int = CHUNK
    ) -> ReleaseUnderTest:
        """Lowered into a directory of this name, with what is done to pictures and sounds beside it."""
        release = self.place / name / "release"
        release.mkdir(parents=True)
        order = LoweringOrder(
            self.checkpoint,
            self.context,
            chunk,
            "all",
            self.place / "checkpoint",
            bos_token=2,
            stop_tokens=(1,),
            chat_template=None,
            turn_end=None,
            made_from=MADE_FROM,
            images=ImageOrder(processing_of(self.kind)),
            sounds=None if self.source.sounds is None else SoundOrder(self.source.sounds),
        )
        artifacts = lowering.lower(order, release, silent)
        said = processing_of(self.kind).to_json()
        (release / PROCESSING_NAME).write_text(said, encoding="utf-8")
        if self.source.sounds is not None:
            said = self.source.sounds.to_json()
            (release / SOUND_PROCESSING_NAME).write_text(said, encoding="utf-8")
        return ReleaseUnderTest(
            release, artifacts, self.plan(format), self.checkpoint, encoders=lowering.encoders(order)
        )

    def findings(self, release: ReleaseUnderTest, lowering: Lowering) -> Findings:
        """What is found about images alone, or about sounds alone."""
        findings, scratch = Findings(), release.directory.parent / "scratch"
        scratch.mkdir()
        family = family_of(release.artifacts[0].format).name
        job = a_job(self.source, (release.plan,), {family: lowering}, scratch / "work")
        check_towers(SOUNDS if self.hears else IMAGES, job, release, scratch, findings)
        return findings

    def run_by(
        self,
        open_encoder: Callable[[Path], RowsEncoder],
        session: type[EagerMultimodalSession],
        name: str,
        damaged: str | None,
    ) -> Findings:
        """What is found of a release in a directory of this name that plain torch runs so. damaged: a
        tensor of its archive, one number of it."""
        release, parts = self.release(SensingLowering(), name), self.checkpoint.components
        if damaged is not None:
            change_archive(release.directory / release.artifacts[0].path, damaged, (0, 0), 2.0)
        blocks = parts["vision"].spec.tokens.blocks
        driver = eager_rows_driver(parts["text"].spec, blocks, open_encoder, session)
        return self.findings(replace(release, rows_drivers=lambda _: (driver,)), SensingLowering())


def processing_of(kind: str) -> ImageProcessing:
    placeholder = GEMMA3_TOKENS[BEGIN] if kind == "Gemma 3" else GEMMA4_TOKENS[SOFT]
    marks = ImageMarks(SOFT, BEGIN, END, line_breaks=kind == "Gemma 3", placeholder=placeholder)
    if kind == "Gemma 3":
        return squashing(112, 4, marks)
    return patching(BUDGET, kind == "Gemma 4 12B", marks)


@cache
def seeing(place: Path, kind: str) -> Sensing:
    """One of `TINY_TOWERS` in a directory below `place`, made once."""
    return _made(place / kind.replace(" ", "-"), kind, hears=False)


@cache
def hearing(place: Path, kind: str) -> Sensing:
    """One of `TINY_ENCODERS`, with its tower, in the same way."""
    return _made(place / f"{kind.replace(' ', '-')}-hears", kind, hears=True)


def _made(own: Path, kind: str, hears: bool) -> Sensing:
    checkpoint = tiny_image_store(own, kind, sound=hears)
    return Sensing(kind, own, HuggingFaceSource.open(own / "checkpoint"), checkpoint, hears)
