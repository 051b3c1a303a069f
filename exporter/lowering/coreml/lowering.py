"""`CoreMlLowering`: quantised checkpoint to `coreml/model.mlpackage` with the tokenizer beside it.

    (1) refuse what Core ML cannot carry
    (2) trace and convert the decoder; matrices are inputs            conversion
    (3) put the weights in their place, on paper                      binding
    (4) write the package, weights streamed row by row                package, blob_file
    (5) put the tokenizer beside it               tokenizer_beside

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

from exporter.errors import LoweringError
from exporter.formats.coreml import COREML, COREML_STREAM
from exporter.lowering.conversations import Conversation, NotRendered
from exporter.lowering.coreml.binding import bind
from exporter.lowering.coreml.conversion import TRACED_LENGTHS, convert
from exporter.lowering.coreml.package import describe, write_package
from exporter.lowering.coreml.read_back import read_matrices
from exporter.lowering.coreml.tokenizer_beside import TEMPLATE_NAME, TOKENIZER_FILES, write_beside
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
        # (2)
        progress("convert to Core ML", 0, 1)
        scale = COREML_STREAM.scale(spec)
        program = convert(spec, checkpoint.components["text"].gains(), order.context, scale)
        progress("convert to Core ML", 1, 1)
        # (3)
        weights = bind(program, checkpoint.components["text"].matrices)
        describe(
            program.model,
            f"Gemma text decoder ({spec.model_type}), KV cache of {order.context} tokens kept in "
            "states. Made by gemma-export; checked on this file's bytes by a MIL evaluator, not on "
            "Apple hardware.",
            order.made_from,
            {"context": str(order.context), "residual_scale": repr(scale)},
        )
        # (4)
        total = weights.nbytes
        write_package(
            out / PACKAGE, program.model, weights, lambda done: progress("write weight.bin", done, total)
        )
        # (5)
        write_beside(order, checkpoint, out / DIRECTORY)
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
        return ()

    def read_back(self, release: Path, artifact: Artifact) -> Iterator[StoredRows]:
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
