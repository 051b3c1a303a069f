"""`LiteRtLowering`: the quantised checkpoint as a .tflite, a .litertlm bundle, or both.

Steps of `lower`:
  (1) build both signatures' graph, weights as buffers without data   signatures, dialect
  (2) write it as .tflite, weights streamed from the checkpoint        writing
  (3) write it into a bundle with tokenizer and metadata               bundle; for models with a per-layer
      embedding, which LiteRT-LM wants apart, and for images and sounds, another graph and embedders
      bundle_models, embedders, and for those their own models         bundle_towers, vision, audio
  (4) check types and uses in what was written                         verification
Peak memory: torch, the graph with its per-row scales (tens of MB), and a row chunk.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from exporter.errors import LoweringError
from exporter.formats.litert import LITERT
from exporter.lowering.conversations import Conversation, Prompts
from exporter.lowering.hidden_states import HiddenStates, HiddenStatesOrder, Seen
from exporter.lowering.interface import ImageOrder, LoweringOrder, SoundOrder, StoredRows
from exporter.lowering.litert.bundle import BundleOrder, write_bundle
from exporter.lowering.litert.bundle_models import EmbeddedOrder, embedded_models, token_model
from exporter.lowering.litert.bundle_towers import (
    chunk_of_bundle,
    image_facts,
    rows_in_text,
    sound_facts,
    tower_matrices,
    tower_sections,
)
from exporter.lowering.litert.chat_template import with_eos
from exporter.lowering.litert.container_writing import SectionSource, SharedSection
from exporter.lowering.litert.engine_prompts import render_prompts
from exporter.lowering.litert.metadata import ModelFacts
from exporter.lowering.litert.reading import open_models
from exporter.lowering.litert.signatures import build_graph
from exporter.lowering.litert.twin.float_twin import STAGE_BYTES, LiteRtTwin
from exporter.lowering.litert.twin.tower_twin import write_tower_twin
from exporter.lowering.litert.twin.watched import Watched
from exporter.lowering.litert.verification import verify_written
from exporter.lowering.litert.vision.graphs import require_centred
from exporter.lowering.litert.writing import Written, write_tflite
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import Matrix
from exporter.quantization.store.journal import identity_bytes
from runtimes.formats import Format
from runtimes.manifest import Artifact, EncoderArtifact, TowerName

COPY_BYTES = 1 << 20
TFLITE_NAME, BUNDLE_NAME = "model.tflite", "model.litertlm"
TOWER_TWIN = "litert-tower"


@dataclass(frozen=True)
class LiteRtLowering:
    """Satisfies `Lowering` and `MakesTowerTwins`.

    formats: which files `lower` leaves, of "tflite" and "litertlm".
    twin_stage_bytes: float weights a float twin holds at once, on disk.
    """

    formats: frozenset[Format] = frozenset(LITERT.formats)
    twin_stage_bytes: int = STAGE_BYTES

    def lower(self, order: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        if not self.formats or not self.formats <= set(LITERT.formats):
            raise LoweringError(
                "LiteRT", f"cannot write {sorted(self.formats)}", "ask for tflite or litertlm"
            )
        self._check(order)
        tflite, bundle = out / TFLITE_NAME, out / BUNDLE_NAME
        if "tflite" in self.formats:
            # (1), (2)
            with tflite.open("wb") as file:
                _graph_writer(order, progress)(file)
        if "litertlm" in self.formats:
            # (3)
            copied = tflite if "tflite" in self.formats else None
            write_bundle(_bundle_order(order), _bundle_models(order, copied, progress), bundle)
        # (4)
        for form, path in (("tflite", tflite), ("litertlm", bundle)):
            if form in self.formats:
                verify_written(path, _planned(order, form))
        return tuple(
            _artifact(form, name, order)
            for form, name in (("tflite", TFLITE_NAME), ("litertlm", BUNDLE_NAME))
            if form in self.formats
        )

    def _check(self, order: LoweringOrder) -> None:
        order.require_carried_by(LITERT)
        if order.prefill_chunk > order.context:
            raise LoweringError(
                "LiteRT",
                f"a prefill chunk of {order.prefill_chunk} does not fit a context of {order.context}",
                "choose a smaller chunk",
            )

    def require_media(self, images: ImageOrder | None, sounds: SoundOrder | None) -> None:
        if images is not None and images.processing.square is not None and "litertlm" in self.formats:
            require_centred(images)

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        width = order.checkpoint.components["text"].spec.hidden_size
        towers: tuple[tuple[TowerName, ImageOrder | SoundOrder | None], ...] = (
            ("vision", order.images),
            ("audio", order.sounds),
        )
        return tuple(
            EncoderArtifact(component, "litertlm", BUNDLE_NAME, BUNDLE_NAME, asked.soft_tokens, width)
            for component, asked in towers
            if asked is not None and "litertlm" in self.formats
        )

    def read_back(self, release: Path, artifact: Artifact) -> Iterator[StoredRows]:
        """Of a bundle the towers' matrices too."""
        for file in open_models(release / artifact.path).values():
            for matrix in file.matrices.values():
                for start, stop in file.row_ranges(matrix):
                    yield file.rows(matrix, start, stop)

    def render(
        self, path: Path, artifact: Artifact, conversations: Sequence[Conversation], scratch: Path
    ) -> Prompts | None:
        return render_prompts(path, conversations, scratch) if artifact.format == "litertlm" else None

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> LiteRtTwin:
        return LiteRtTwin.of(release / artifact.path, out, self.twin_stage_bytes)

    def tower_twin(self, release: Path, encoder: EncoderArtifact, out: Path) -> EncoderArtifact:
        (out / TOWER_TWIN).mkdir(exist_ok=True)
        write_tower_twin(release / encoder.path, encoder.component, out / TOWER_TWIN)
        return replace(encoder, path=TOWER_TWIN)

    def hidden_states(
        self,
        release: Path,
        artifact: Artifact,
        out: Path,
        order: HiddenStatesOrder,
        into: HiddenStates,
    ) -> Seen:
        twin = self.float_twin(release, artifact, out)
        watched = Watched.of(twin.graph, order.norms, into)
        for _ in twin.run(order.segments, order.tokens, lambda done: None, watched):
            pass
        return watched.seen


def _graph_writer(order: LoweringOrder, progress: Progress) -> Callable[[BinaryIO], None]:
    graph = build_graph(order.checkpoint, order.context, order.prefill_chunk)
    return lambda file: write_tflite(graph.model, graph.external, file, _told(progress))


def _bundle_models(
    order: LoweringOrder, tflite: Path | None, progress: Progress
) -> list[SectionSource | SharedSection]:
    """tflite: the graph for tokens, where it was already written."""
    told = _told(progress)
    if _is_embedded(order):
        rows = rows_in_text(order)
        embedded = EmbeddedOrder(order.checkpoint, order.context, chunk_of_bundle(order), rows)
        models = embedded_models(embedded, told)
        return models if rows is None else [*models, *tower_sections(order, rows, told)]
    if tflite is not None:
        return token_model(lambda file: _copy(tflite, file))
    return token_model(_graph_writer(order, progress))


def _is_embedded(order: LoweringOrder) -> bool:
    """Whether tokens are looked up outside the bundle's text model."""
    ple = order.checkpoint.components["text"].spec.per_layer_embedding
    return ple is not None or order.images is not None or order.sounds is not None


def _planned(order: LoweringOrder, form: Format) -> Mapping[str, Matrix]:
    """The matrices a file is to hold."""
    text = order.checkpoint.components["text"].matrices
    return {**text, **tower_matrices(order)} if form == "litertlm" else text


def _told(progress: Progress) -> Written:
    return lambda done, total: progress("LiteRT", done, total)


def _copy(path: Path, file: BinaryIO) -> None:
    with path.open("rb") as source:
        shutil.copyfileobj(source, file, COPY_BYTES)


def _bundle_order(order: LoweringOrder) -> BundleOrder:
    spec = order.checkpoint.components["text"].spec
    facts = ModelFacts(
        model_type=spec.model_type,
        bos_token=order.bos_token,
        stop_tokens=order.stop_tokens,
        chat_template=with_eos(order.chat_template, order.tokenizer),
        context=order.context,
        embedded=_is_embedded(order),
        images=image_facts(order),
        sounds=sound_facts(order),
    )
    return BundleOrder(facts, order.tokenizer, identity_bytes(order.checkpoint.record))


def _artifact(form: Format, path: str, order: LoweringOrder) -> Artifact:
    return Artifact(
        component="text",
        format=form,
        path=path,
        context=order.context,
        vocab_size=order.checkpoint.components["text"].spec.vocab_size,
        prefill_chunk=chunk_of_bundle(order) if form == "litertlm" else order.prefill_chunk,
        # LiteRT-LM takes logits from `decode` alone.
        prefill_logits="none",
    )
