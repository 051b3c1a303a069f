"""The input embedding and the head: one matrix in most Gemmas, and two once an adapter trained one of them.

peft's model keeps them apart where only one was trained (its merge_and_unload writes a LoRA of either into
the shared matrix, and warns of it); where peft trains them together they stay one, unless what it scales
the common factors with is each one's own: DoRA's magnitudes, or an alpha by pattern. Not about shapes and
names (`fitting`). Source: peft 0.21 `BaseTuner._check_tied_modules`, `set_additional_trainable_modules`,
`LoraModel._create_and_replace` (`tied_adapter`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from exporter.checkpoints.adapters.adapter_config import AdapterConfig
from exporter.checkpoints.adapters.adapter_tensors import same_bytes
from exporter.checkpoints.adapters.fitting import SAVE_AGAIN, WeightParts
from exporter.checkpoints.adapters.merged_weights import BaseWeight, StoredWeight, WeightRows
from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import CheckpointError

HEAD = "lm_head.weight"


@dataclass(frozen=True)
class EmbeddingAndHead:
    """Embedding and head as an adapter leaves them. weights: those that are not the base's. untied: whether
    they are two matrices where the base has one."""

    weights: Mapping[str, WeightRows] = field(default_factory=dict)
    untied: bool = False


@dataclass(frozen=True)
class TiedPair:
    """What an adapter holds of a matrix that is embedding and head at once."""

    base: CheckpointSource
    config: AdapterConfig
    where: object
    embedding: WeightParts
    head: WeightParts

    def vocabulary(self) -> EmbeddingAndHead:
        """Raises CheckpointError for parts that contradict one another."""
        name = self.embedding.weight.name
        shared = self._shared_original()
        origin: WeightRows = BaseWeight(self.base, name) if shared is None else shared
        one = self._trained_as_one()
        untied = not one and (self.embedding.is_trained or self.head.is_trained)
        weights: dict[str, WeightRows] = {}
        if self.embedding.is_trained or shared is not None:
            weights[name] = self.embedding.merged(origin)
        if untied:
            weights[HEAD] = self.head.merged(origin)
        return EmbeddingAndHead(weights, untied)

    def _shared_original(self) -> StoredWeight | None:
        """The matrix as it was in training, where the adapter has it."""
        embedding, head = self.embedding, self.head
        if embedding.original is not None and head.original is not None:
            self._require_same(embedding.original, head.original)
        return embedding.original or head.original

    def _trained_as_one(self) -> bool:
        """Whether peft's model keeps one matrix."""
        embedding, head = self.embedding, self.head
        if embedding.token_rows is not None or head.token_rows is not None:
            return self._tokens_trained_as_one()
        if self.config.tied:
            self._require_mirrored()
            return not self._scaled_apart()
        if embedding.whole is not None and head.whole is not None:
            return same_bytes(embedding.whole.file, embedding.whole.header, head.whole.header)
        return False

    def _tokens_trained_as_one(self) -> bool:
        embedding, head = self.embedding, self.head
        if any(parts.whole is not None or parts.has_factors for parts in (embedding, head)):
            raise CheckpointError(
                self.where,
                "it trains some rows of the embedding and also the whole of it, or of the head tied to it",
                "merge it where it was trained and export the result",
            )
        if embedding.token_rows is None or (head.tokens and head.tokens != embedding.tokens):
            return False
        if head.token_rows is not None:
            self._require_same(embedding.token_rows, head.token_rows)
        return True

    def _require_mirrored(self) -> None:
        """With `ensure_weight_tying` the head's part is the embedding's, turned round, and nothing else."""
        embedding, head = self.embedding, self.head
        if embedding.whole is not None and head.whole is not None:
            self._require_same(embedding.whole, head.whole)
        elif head.whole is not None or (head.has_factors and not embedding.has_factors):
            raise self._contradiction("there is a part of the head and none of the embedding")
        if embedding.down is None or embedding.up is None or head.down is None or head.up is None:
            return
        mirrored = np.array_equal(head.down.all(), embedding.up.all().T) and all(
            np.array_equal(rows, embedding.down.columns(start, start + len(rows)).T)
            for start, rows in head.up.chunks()
        )
        if not mirrored:
            raise self._contradiction("the factors of head and embedding are not the same")

    def _scaled_apart(self) -> bool:
        """Whether the factors they share make two matrices: peft ties A and B, and nothing else."""
        embedding, head = self.embedding, self.head
        if embedding.magnitude is not None and not head.has_factors:
            raise self._contradiction("the magnitudes of the head are missing, which are its own")
        return head.has_factors and (head.magnitude is not None or head.scaling != embedding.scaling)

    def _require_same(self, one: StoredWeight, other: StoredWeight) -> None:
        if not same_bytes(one.file, one.header, other.header):
            raise self._contradiction(
                f"tensors {one.header.name:.200} and {other.header.name:.200} are one weight and differ"
            )

    def _contradiction(self, what: str) -> CheckpointError:
        return CheckpointError(self.where, f"embedding and head are tied, and {what}", SAVE_AGAIN)


def apart(base: CheckpointSource, *parts: WeightParts) -> EmbeddingAndHead:
    """Weights that share nothing: each with its own parts."""
    weights = {
        each.weight.name: each.merged(each.original or BaseWeight(base, each.weight.name))
        for each in parts
        if each.is_trained or each.original is not None
    }
    return EmbeddingAndHead(weights)
