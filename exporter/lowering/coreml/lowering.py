"""`CoreMlLowering`: quantised checkpoint to `coreml/model.mlpackage` with the tokenizer beside it, and for
images and sounds `coreml/vision.mlpackage` and `coreml/audio.mlpackage`.

    (1) refuse what Core ML cannot carry
    (2) trace and convert the decoder; matrices are inputs            conversion
    (3) put the weights in their place, on paper                      binding
    (4) write the package, weights streamed row by row                package, blob_file
    (5) put the tokenizer beside it               tokenizer_beside
    (6) with images or sounds, each tower in a package of its own    tower_package

With them the program has two functions more, over the same weight file (`conversion`); the one for tokens
keeps its operations and weights to the byte.

The program takes `inputIds` [1, tokens] and `causalMask` [1, 1, tokens or 1, end], keeps its cache in
states, of a window's length for sliding layers (`cache_states`), and returns `logits` [1, tokens, vocab]:
the names and calls of swift-transformers. Everything is fp16 (iOS 18 wants fp16 states), norms and
residual stream so written that it stays finite.
Peak memory is coremltools' program plus a few row chunks; no matrix is ever whole in memory.

One weight file whatever its size. Loading files above 2 GB is reported to fail on 2023's macOS and to
work on newer ones, except on the neural engine, whose limit is 2 GiB (coremltools #1807, #2593).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from exporter.errors import LoweringError
from exporter.formats.coreml import COREML, COREML_STREAM
from exporter.lowering.conversations import Conversation, NotRendered
from exporter.lowering.coreml.binding import bind
from exporter.lowering.coreml.blob_file import BlobWriter
from exporter.lowering.coreml.conversion import TRACED_LENGTHS, convert, convert_for_rows
from exporter.lowering.coreml.functions import join
from exporter.lowering.coreml.package import describe, write_package
from exporter.lowering.coreml.read_back import read_matrices
from exporter.lowering.coreml.tokenizer_beside import TEMPLATE_NAME, TOKENIZER_FILES, write_beside
from exporter.lowering.coreml.tower_package import image_blocks, ordered_towers, write_tower
from exporter.lowering.coreml.traced_program import ConvertedProgram
from exporter.lowering.coreml.watched_program import coreml_hidden_states
from exporter.lowering.hidden_states import HiddenStates, HiddenStatesOrder, Seen
from exporter.lowering.interface import LoweringOrder, StoredRows
from exporter.progress import Progress
from runtimes.manifest import Artifact, EncoderArtifact

DIRECTORY = "coreml"
PACKAGE = f"{DIRECTORY}/model.mlpackage"


class CoreMlLowering:
    """Satisfies `Lowering` for Core ML (iOS 18, macOS 15)."""

    def lower(self, order: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        """Write coreml/model.mlpackage, tokenizer and config.json under `out`.

        Raises LoweringError for a scheme or context Core ML cannot carry, or without a tokenizer.
        """
        checkpoint = order.checkpoint
        spec = checkpoint.components["text"].spec
        # (1)
        self._check(order)
        # (2), (3)
        model, weights = self._program(order, progress)
        # (4)
        total = weights.nbytes
        write_package(out / PACKAGE, model, weights, lambda done: progress("write weight.bin", done, total))
        # (5)
        write_beside(order, checkpoint, out / DIRECTORY)
        # (6)
        for tower, artifact in zip(ordered_towers(order), self.encoders(order), strict=True):
            write_tower(tower, out / artifact.path, order, progress)
        return (
            Artifact(
                component="text",
                format="coreml",
                path=PACKAGE,
                context=order.context,
                vocab_size=spec.vocab_size,
                prefill_chunk=order.prefill_chunk,
                prefill_logits="all",  # swift-transformers reads the last of them by its index
            ),
        )

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        return tuple(tower.artifact(DIRECTORY, PACKAGE) for tower in ordered_towers(order))

    def read_back(self, release: Path, artifact: Artifact | EncoderArtifact) -> Iterator[StoredRows]:
        """Codes, scales and values as weight.bin holds them."""
        return read_matrices(release / artifact.path)

    def render(
        self, path: Path, artifact: Artifact, conversations: Sequence[Conversation], scratch: Path
    ) -> NotRendered | None:
        """Nothing, in words: the engine is on Apple's systems alone."""
        if not (path.parent / TEMPLATE_NAME).is_file():
            return None
        return NotRendered("swift-transformers, which renders it, runs on Apple's systems alone")

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> Artifact:
        """The artifact itself, linked under `out`.

        Core ML's compressed weights are dequantised before they are used (constexpr operations), and
        the evaluator in fp32 arithmetic computes with exactly code * scale: it is its own twin.
        """
        twin = out / artifact.path
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.symlink_to((release / artifact.path).resolve(), target_is_directory=True)
        return artifact

    def hidden_states(
        self,
        release: Path,
        artifact: Artifact,
        out: Path,
        order: HiddenStatesOrder,
        into: HiddenStates,
    ) -> Seen:
        return coreml_hidden_states(release / artifact.path, artifact.prefill_chunk, order, into)

    def _program(self, order: LoweringOrder, progress: Progress) -> tuple[Any, BlobWriter]:
        """The decoder's model with all its functions, and the weight file it refers to."""
        text, towers = order.checkpoint.components["text"], ordered_towers(order)
        spec, gains = text.spec, text.gains()
        scale = COREML_STREAM.scale(spec)
        calls = 2 if towers else 1
        progress("convert to Core ML", 0, calls)
        program = convert(spec, gains, order.context, scale)
        progress("convert to Core ML", 1, calls)
        facts = {"context": str(order.context), "residual_scale": repr(scale)}
        others: dict[str, ConvertedProgram] = {}
        if towers:
            others = convert_for_rows(spec, gains, order.context, scale, image_blocks(towers))
            facts |= dict(tower.soft_token for tower in towers)
            progress("convert to Core ML", 2, calls)
        weights = bind(program, text.matrices, tuple(others.values()))
        if others:
            join(program.model, others)
        describe(
            program.model,
            f"Gemma text decoder ({spec.model_type}), KV cache of {order.context} tokens kept in "
            "states. Made by gemma-export; checked on this file's bytes by a MIL evaluator, not on "
            "Apple hardware.",
            order.made_from,
            facts,
        )
        return program.model, weights

    def _check(self, order: LoweringOrder) -> None:
        order.require_carried_by(COREML)
        if order.context < max(TRACED_LENGTHS):
            raise LoweringError(
                f"context {order.context}",
                f"Core ML programs here hold at least {max(TRACED_LENGTHS)} positions",
                "ask for a longer context",
            )
        for name in TOKENIZER_FILES:
            if not (order.tokenizer / name).is_file():
                raise LoweringError(
                    order.tokenizer / name, "is missing", "give a directory with the tokenizer's files"
                )
