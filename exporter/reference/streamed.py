"""`StreamedReference`: transformers' own model, its weights visiting one module at a time.

transformers builds the model without storage and does all of the computing: embeddings, masks,
RoPE, attention, norms, soft caps. Each submodule is lent its weights for the length of its forward call
(`lending`). Peak memory is the largest matrix, the activations of one sequence, and a block of logits; that
holds for any size of model. Independent of `exporter.models` on purpose.

Steps of `StreamedReference.run`:
  (1) the tokens go through the decoder layers, one after the other                        `layer_walk`
  (2) transformers' ForCausalLM.forward turns the final hidden states into logits, once per block of
      the head's rows: the text model inside it is replaced by one that returns what (1) computed
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]  # ships no types
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_outputs import BaseModelOutputWithPast

from exporter.errors import ReferenceModelError
from exporter.progress import Progress
from exporter.reference.layer_walk import LayerWalk, LinearWatch, token_batches
from exporter.reference.leads import Decisions, TopTwo
from exporter.reference.lending import Lender, as_parameter
from exporter.reference.logits_file import LogitsFile
from exporter.reference.merged_prompt import MergedPrompt
from exporter.reference.peaks import Peaks
from exporter.reference.spill import Spill
from exporter.reference.weights import ReferenceWeights
from runtimes.images.session import PlacedImage
from runtimes.session import Tokens

BLOCK_BYTES = 64 << 20  # of head rows, and of the logits they give

GivenBatch = NDArray[np.integer[Any]] | MergedPrompt
"""Tokens, [batch, tokens], or one prompt with images in it."""

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"


class LogitsSink(Protocol):
    """Takes logits block by block of the vocabulary."""

    def take(self, start: int, block: NDArray[np.float32]) -> None:
        """block: [positions, n], the logits of tokens start to start + n; blocks come in order."""
        ...


class ToFile:
    """A sink that keeps every logit."""

    def __init__(self, file: LogitsFile) -> None:
        self.file = file

    def take(self, start: int, block: NDArray[np.float32]) -> None:
        self.file.write_columns(start, block)


class TopToken:
    """A sink that keeps each position's most likely token. choices: [positions]."""

    def __init__(self, positions: int) -> None:
        self.choices = np.zeros(positions, np.int64)
        self._best = np.full(positions, -np.inf, np.float32)

    def take(self, start: int, block: NDArray[np.float32]) -> None:
        top = block.argmax(-1)
        value = block[np.arange(len(block)), top]
        better = value > self._best  # strictly: of equals, the lower token, as argmax has it
        self.choices[better] = start + top[better]
        self._best[better] = value[better]


class StreamedReference:
    """transformers' model of `weights.architecture`, in float32 with eager attention.

    Eager, because transformers' other attention functions ignore Gemma 2's soft cap. Raises
    ReferenceModelError where model and weights do not have exactly the same tensors.
    """

    def __init__(self, weights: ReferenceWeights) -> None:
        self.weights = weights
        settings = dict(weights.architecture)
        model_type = settings.pop("model_type")
        config = AutoConfig.for_model(model_type, **settings)
        self.pad_token: int = config.pad_token_id
        config.pad_token_id = None  # nothing is padded, and embeddings that get a few rows have no such row
        with init_empty_weights(include_buffers=False):  # parameters have no storage, RoPE tables do
            self.model = AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, attn_implementation="eager"
            )
        self.model.eval()
        self.head_name = EMBEDDING if config.tie_word_embeddings else HEAD
        self.vocab_size: int = config.vocab_size
        owned = {
            name: (module, local, tensor)
            for prefix, module in self.model.named_modules()
            for local, tensor in _own_tensors(module)
            if (name := f"{prefix}.{local}") != HEAD
        }
        expected = {name: tuple(tensor.shape) for name, (_, _, tensor) in owned.items()}
        if self.head_name == HEAD:
            expected[HEAD] = tuple(self.model.lm_head.weight.shape)
        _require_same(expected, weights)
        self._lender = Lender(weights)
        for name, (module, local, _) in owned.items():
            self._lender.lend(module, local, name)

    def run(
        self,
        tokens: NDArray[np.integer[Any]],
        sink: LogitsSink,
        progress: Progress,
        peaks: Peaks | None = None,
        at: NDArray[np.int64] | None = None,
    ) -> None:
        """Logits of tokens [batch, length] into `sink`: [batch * length, n] a block. peaks: to see what
        passes the text model's modules on the way. at: the positions of each sequence whose logits are
        wanted, None for all: the head is the dearest of it."""
        seen = nullcontext() if peaks is None else peaks.watching(self.model.model)
        with torch.inference_mode(), self.walk(tokens) as walk, seen:
            # (1)
            walk.start()
            for layer in walk.layers():
                layer.advance()
                progress(f"{self.weights.description}: layers", layer.index + 1, len(walk))
            # (2)
            computed = walk.finish(0)
            if at is not None:
                computed.last_hidden_state = computed.last_hidden_state[:, at]
        for start, block in self.head(
            computed, self.head_rows(computed.last_hidden_state.shape[:2].numel())
        ):
            sink.take(start, block.numpy())
            progress(f"{self.weights.description}: head", start + block.shape[-1], self.vocab_size)

    def final_states(
        self,
        batches: Sequence[GivenBatch],
        progress: Progress,
        at: Sequence[NDArray[np.int64]] | None = None,
    ) -> BaseModelOutputWithPast:
        """(1) over several batches: the text model's result, with the last hidden states of all of them one
        after the other, [1, positions, hidden]. at: the positions of each batch's sequences that are
        wanted, None for all."""
        with torch.inference_mode(), self.walk(*batches) as walk:
            walk.start()
            for layer in walk.layers():
                layer.advance()
                progress(f"{self.weights.description}: layers", layer.index + 1, len(walk))
            results = [walk.finish(number) for number in range(len(batches))]
            states = [
                (each.last_hidden_state if at is None else each.last_hidden_state[:, at[number]]).flatten(
                    0, 1
                )
                for number, each in enumerate(results)
            ]
            results[0].last_hidden_state = torch.cat(states)[None]
            computed: BaseModelOutputWithPast = results[0]
            return computed

    def merged(self, tokens: Tokens, images: Sequence[PlacedImage]) -> MergedPrompt:
        """One prompt, as this model is given it."""
        return MergedPrompt(tokens, tuple(images), self.pad_token)

    def head(self, computed: BaseModelOutputWithPast, step: int) -> Iterator[tuple[int, Tensor]]:
        """(2) for the text model's result, `step` tokens of the vocabulary at a time: the first of them,
        and logits [positions, n]."""
        batch, length, _ = computed.last_hidden_state.shape
        ids = torch.zeros((batch, length), dtype=torch.long)  # asked for, and not looked at
        module = self.model.lm_head
        empty = module.weight
        with self._text_model_replaced(computed):
            for start in range(0, self.vocab_size, step):
                stop = min(self.vocab_size, start + step)
                with torch.inference_mode():
                    module.weight = as_parameter(self.weights.rows(self.head_name, start, stop))
                    logits = self.model(input_ids=ids, use_cache=False).logits
                yield start, logits.reshape(batch * length, stop - start)
        module.weight = empty

    def head_rows(self, positions: int) -> int:
        """Rows of the head at once, so that neither they nor their logits take more than BLOCK_BYTES."""
        row_bytes: int = 4 * max(positions, self.model.lm_head.weight.shape[1])
        return max(1, BLOCK_BYTES // row_bytes)

    def watch(self, tokens: NDArray[np.integer[Any]], watch: LinearWatch) -> None:
        """Show `watch` every linear of the text model, in order, over tokens [batch, length]."""
        with torch.inference_mode(), self.walk(tokens) as walk:
            walk.start(watch)
            for layer in walk.layers():
                layer.advance(watch)

    @contextmanager
    def walk(self, *batches: GivenBatch, spill: Spill | None = None) -> Iterator[LayerWalk]:
        """Batches to be taken layer by layer, by this model's modules."""
        with closing(Spill() if spill is None else spill) as waiting:
            yield LayerWalk(self.model.model, self._lender, token_batches(*batches), waiting)

    @contextmanager
    def _text_model_replaced(self, computed: BaseModelOutputWithPast) -> Iterator[None]:
        text_model = self.model.model
        self.model.model = _Computed(computed)
        try:
            yield
        finally:
            self.model.model = text_model


def reference_logits(
    weights: ReferenceWeights, tokens: Tokens, path: Path, progress: Progress, peaks: Peaks | None = None
) -> LogitsFile:
    """The reference's logits at every position of one sequence, in a file at `path`. peaks: gets the
    largest magnitudes on the way to them."""
    reference = StreamedReference(weights)
    file = LogitsFile.create(path, len(tokens), reference.vocab_size)
    reference.run(tokens[None], ToFile(file), progress, peaks)
    return file


def reference_choices(
    weights: ReferenceWeights, tokens: NDArray[np.int32], progress: Progress
) -> NDArray[np.int64]:
    """The reference's most likely next token at every position of tokens [batch, length]."""
    sink = TopToken(tokens.size)
    StreamedReference(weights).run(tokens, sink, progress)
    return sink.choices.reshape(tokens.shape)


def reference_decisions(
    weights: ReferenceWeights,
    tokens: Tokens,
    at: NDArray[np.int64],
    progress: Progress,
    peaks: Peaks | None = None,
) -> Decisions:
    """What the reference chooses behind positions `at` of one sequence. peaks: as `reference_logits` has
    them, of the whole sequence."""
    sink = TopTwo(len(at))
    StreamedReference(weights).run(tokens[None], sink, progress, peaks, at)
    return sink.decisions()


class _Computed(nn.Module):
    """Stands in for the text model once its result, final hidden states included, is known."""

    def __init__(self, computed: BaseModelOutputWithPast) -> None:
        super().__init__()
        self.computed = computed

    def forward(self, **_: object) -> BaseModelOutputWithPast:
        return self.computed


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and saved buffers of the module itself, not of its children."""
    yield from module.named_parameters(recurse=False)
    for local, buffer in module.named_buffers(recurse=False):
        if local not in module._non_persistent_buffers_set:
            yield local, buffer


def _require_same(expected: dict[str, tuple[int, ...]], weights: ReferenceWeights) -> None:
    shapes = dict(weights.shapes)
    if wrong := sorted(name for name in expected | shapes if expected.get(name) != shapes.get(name)):
        name = wrong[0]
        raise ReferenceModelError(
            f"{weights.description}: {name}",
            f"transformers' model has shape {expected.get(name)}, the weights have {shapes.get(name)}",
            "the configuration and the weights belong to different models",
        )
