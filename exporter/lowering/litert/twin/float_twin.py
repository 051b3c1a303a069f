"""`LiteRtTwin`: the float twin of a written LiteRT file, run a stage at a time.

The same graph, integer weights replaced by their values. Made from the artifact's own bytes, so a fault
in its codes or scales is in the twin too. Steps of `run`, which take one pass over the weights:
  (1) cut the graph into stages of bounded size, with weights or with caches   float_graph, stages
  (2) look tokens up in the bundle's embedders, if it has any, as they are
  (3) for each stage, write it in fp32 and run all calls of the route          stage_file, stage_run
  (4) where it has no caches, many decode steps at once: each weight is read once for all of them, where
      a step alone would wait for it                                           widening
  (5) keep what later stages need of each call on disk                         crossing
Disk: twice a stage (its weights, and as XNNPACK packs them) and what crosses. Memory: one stage's
activations and caches, a quarter of its weights while they are packed, and the artifact's scales; the
weights themselves are mapped from disk. No result of the steps run at once is larger than `BATCH_BYTES`;
around the head about five such are alive, those yielded among them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.lowering.interface import Segment
from exporter.lowering.litert.reading import TEXT, open_models
from exporter.lowering.litert.twin.crossing import Crossing
from exporter.lowering.litert.twin.float_graph import FloatGraph, FloatSignature, float_graph
from exporter.lowering.litert.twin.stage_file import write_stage
from exporter.lowering.litert.twin.stage_run import StageCall, run_stage
from exporter.lowering.litert.twin.stages import NOTHING_WATCHED, Stage, cut
from exporter.lowering.litert.twin.watched import Watched
from exporter.lowering.litert.twin.widening import calls_at_once, widened
from runtimes.errors import ArtifactError
from runtimes.litert.attention_masks import AttentionMasks
from runtimes.litert.calls import DECODE, PREFILL, GraphCall, call_inputs, prefill_calls
from runtimes.litert.compiled import refusals_explained
from runtimes.litert.container import EMBEDDERS
from runtimes.litert.embedders import open_embedders
from runtimes.litert.facts import SignatureShapes, session_facts
from runtimes.litert.model_file import masks_in, model_files
from runtimes.session import Logits, SessionFacts, Tokens

STAGE_BYTES = 1 << 30
SLICES = 4  # of a stage: XNNPACK packs each weight in anonymous memory before it puts it into its file
FILES_OF_A_STAGE = 2  # its weights, and XNNPACK's packed copy of them


@dataclass(frozen=True)
class LiteRtTwin:
    """Satisfies `RouteRunner`. scratch: directory for stages. stage_bytes: of float weights at once. masks:
    that the graph takes."""

    graph: FloatGraph
    scratch: Path
    stage_bytes: int
    facts: SessionFacts
    masks: AttentionMasks

    @staticmethod
    def of(artifact: Path, scratch: Path, stage_bytes: int = STAGE_BYTES) -> LiteRtTwin:
        """The twin of a .tflite, or of the models in a .litertlm.

        Raises LoweringError for a file that is damaged or not of our making.
        """
        models = open_models(artifact)
        graph = float_graph(models.pop(TEXT), stage_bytes // SLICES)
        signatures = {
            each.key: SignatureShapes(_shapes(each, each.inputs), _shapes(each, each.outputs))
            for each in graph.signatures
        }
        try:
            masks = masks_in(artifact)
            embedded = set(models) & set(EMBEDDERS.values())
            facts = session_facts(artifact, signatures, embedded, "fp32", masks)
        except ArtifactError as error:
            raise LoweringError(artifact, str(error), "export again") from error
        return LiteRtTwin(graph, scratch, stage_bytes, facts, masks)

    def run(
        self,
        segments: Sequence[Segment],
        tokens: Tokens,
        tell: Callable[[int], None],
        watched: Watched | None = None,
    ) -> Generator[tuple[int, Logits]]:
        """As `RouteRunner` has it. watched: what to put down beside the logits."""
        tokens = self.facts.tokens_at(0, tokens)
        try:
            yield from self._run(_calls(segments, tokens, self.facts), tell, watched)
        except OSError as error:
            raise _no_room(self.scratch, str(error.strerror)) from error

    def _run(
        self, calls: Sequence[StageCall], tell: Callable[[int], None], watched: Watched | None
    ) -> Generator[tuple[int, Logits]]:
        # (1)
        tensors = NOTHING_WATCHED if watched is None else watched.tensors
        stages = cut(self.graph, {each.key for each in calls}, self.stage_bytes, tensors)
        tokens = sum(each.call.count for each in calls)
        steps = len(stages) * len(calls)
        with (
            tempfile.TemporaryDirectory(prefix="twin-", dir=self.scratch) as directory,
            closing(Crossing(Path(directory))) as crossing,
        ):
            # (2)
            self._look_up(calls, crossing, Path(directory))
            for number, stage in enumerate(stages):
                # (3)
                at = 0
                with closing(self._stage(stage, calls, crossing)) as results:
                    for count, logits in results:
                        if logits is not None:
                            yield calls[at].call.position, logits
                        at += count
                        tell(tokens * (number * len(calls) + at) // steps)
                # (5)
                if watched is not None:
                    watched.take(stage, calls, crossing)
                crossing.keep(_wanted(stages[number + 1 :]))

    def _stage(
        self, stage: Stage, calls: Sequence[StageCall], crossing: Crossing
    ) -> Generator[tuple[int, NDArray[np.float32] | None]]:
        graph, stage = self._for_many(stage, calls)
        need = FILES_OF_A_STAGE * stage.nbytes
        with tempfile.TemporaryDirectory(prefix="stage-", dir=self.scratch) as directory:
            if (free := shutil.disk_usage(directory).free) < need:
                raise _no_room(self.scratch, f"{free >> 20} MiB are free, {need >> 20} MiB are needed")
            file = Path(directory, "stage.tflite")
            write_stage(graph, stage, file)
            yield from run_stage(file, self.graph.file.path, stage, calls, crossing, self._given)

    def _for_many(self, stage: Stage, calls: Sequence[StageCall]) -> tuple[FloatGraph, Stage]:
        """The stage, taking many decode steps at once if none has to wait for another."""
        if stage.caches or DECODE not in stage.parts:
            return self.graph, stage
        # (4)
        share, count = stage.parts[DECODE], sum(each.key == DECODE for each in calls)
        graph, wide = widened(self.graph, share, calls_at_once(share, count))
        return graph, replace(stage, parts={**stage.parts, DECODE: wide})

    def _look_up(self, calls: Sequence[StageCall], crossing: Crossing, scratch: Path) -> None:
        path = self.graph.file.path
        files = model_files(path, scratch).embedders
        with ExitStack() as opened:
            with refusals_explained(path):
                embedders = open_embedders(files, scratch, path)
            for name, embedder in embedders.items():
                opened.callback(embedder.close)
                for each in calls:
                    crossing.put((each.key, name), each.number, embedder.look_up(each.call.tokens)[None])

    def _given(self, each: StageCall) -> Mapping[str, NDArray[Any]]:
        return call_inputs(each.call, self.facts.context, self.masks)


def _calls(segments: Sequence[Segment], tokens: Tokens, facts: SessionFacts) -> list[StageCall]:
    """The calls a session would make for the segments."""
    found: list[StageCall] = []
    counts = dict.fromkeys((DECODE, f"{PREFILL}{facts.prefill_chunk}"), 0)

    def add(call: GraphCall, wanted: bool) -> None:
        key = DECODE if call.signature == "decode" else f"{PREFILL}{facts.prefill_chunk}"
        found.append(StageCall(key, counts[key], call, wanted))
        counts[key] += 1

    position = 0
    for segment in segments:
        part = tokens[position : position + segment.tokens]
        if segment.call == "prefill":
            for call in prefill_calls(part, position, facts):
                add(call, wanted=False)
        else:
            for offset in range(len(part)):
                call = GraphCall("decode", part[offset : offset + 1], position + offset, 1)
                add(call, wanted=True)
        position += len(part)
    return found


def _wanted(stages: Sequence[Stage]) -> set[tuple[str, str]]:
    """What the stages read."""
    return {(key, name) for stage in stages for key, part in stage.parts.items() for name in part.inputs}


def _shapes(signature: FloatSignature, entries: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(int(side) for side in signature.tensors[index].shape) for index, name in entries.items()
    }


def _no_room(scratch: Path, what: str) -> LoweringError:
    return LoweringError(
        scratch,
        f"a stage of the float twin cannot be kept there ({what})",
        "free that much space, or name a scratch directory on a larger disk",
    )
