"""Tiny models that see, and releases of them to be checked: what tests of image gates share.

Not about who runs a release (`tests.seeing`, or the formats' own drivers).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.formats.table import family_of
from exporter.lowering.interface import ImageOrder, Lowering, LoweringOrder
from exporter.planning.plan import Plan
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.modality import IMAGES
from exporter.validation.tower_check import check_towers
from runtimes.formats import Format
from runtimes.images.processing import PROCESSING_NAME, ImageMarks, ImageProcessing
from tests.fakes import silent
from tests.image_processing import patching, squashing
from tests.jobs import a_job, a_plan, a_variant
from tests.tiny_image_stores import tiny_image_store
from tests.tiny_releases import MADE_FROM
from tests.tiny_towers import BEGIN, END, SOFT

CONTEXT, CHUNK, BUDGET = 320, 8, 20


@dataclass(frozen=True)
class Seeing:
    """A tiny model that sees, int8, in a directory of its own."""

    kind: str
    place: Path
    source: HuggingFaceSource
    checkpoint: QuantizedCheckpoint

    def plan(self, format: Format) -> Plan:
        return a_plan(self.source, a_variant("int8", (format,), context=CONTEXT))

    def release(
        self, lowering: Lowering, name: str, format: Format = "onnx", chunk: int = CHUNK
    ) -> ReleaseUnderTest:
        """Lowered into a directory of this name, with what is done to a picture beside it."""
        release = self.place / name / "release"
        release.mkdir(parents=True)
        order = LoweringOrder(
            self.checkpoint,
            CONTEXT,
            chunk,
            "all",
            self.place / "checkpoint",
            bos_token=2,
            stop_tokens=(1,),
            chat_template=None,
            turn_end=None,
            made_from=MADE_FROM,
            images=ImageOrder(processing_of(self.kind)),
        )
        artifacts = lowering.lower(order, release, silent)
        said = processing_of(self.kind).to_json()
        (release / PROCESSING_NAME).write_text(said, encoding="utf-8")
        return ReleaseUnderTest(
            release, artifacts, self.plan(format), self.checkpoint, encoders=lowering.encoders(order)
        )

    def findings(self, release: ReleaseUnderTest, lowering: Lowering) -> Findings:
        """What is found about images alone."""
        findings, scratch = Findings(), release.directory.parent / "scratch"
        scratch.mkdir()
        family = family_of(release.artifacts[0].format).name
        job = a_job(self.source, (release.plan,), {family: lowering}, scratch / "work")
        check_towers(IMAGES, job, release, scratch, findings)
        return findings


def processing_of(kind: str) -> ImageProcessing:
    marks = ImageMarks(SOFT, BEGIN, END, line_breaks=kind == "Gemma 3", placeholder="<image>")
    if kind == "Gemma 3":
        return squashing(112, 4, marks)
    return patching(BUDGET, kind == "Gemma 4 12B", marks)


@cache
def seeing(place: Path, kind: str) -> Seeing:
    """One of `TINY_TOWERS` in a directory below `place`, made once."""
    own = place / kind.replace(" ", "-")
    checkpoint = tiny_image_store(own, kind)
    return Seeing(kind, own, HuggingFaceSource.open(own / "checkpoint"), checkpoint)
