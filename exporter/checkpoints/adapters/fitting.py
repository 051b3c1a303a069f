"""`WeightParts`: what an adapter holds of one weight, once it is known to fit the base and its config.

peft drops a tensor its config does not speak of, and loads what is missing as if it had been trained: both
are refused here. Not about the tied head (`tying`) or values (`merged_weights`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporter.checkpoints.adapters.adapter_config import AdapterConfig
from exporter.checkpoints.adapters.adapter_tensors import AdapterTensors, Part, same_bytes
from exporter.checkpoints.adapters.merged_weights import (
    ColumnMagnitudes,
    LowRank,
    RowMagnitudes,
    RowsReplaced,
    StoredWeight,
    WeightRows,
)
from exporter.checkpoints.adapters.selection import (
    is_adapted,
    is_saved_whole,
    scaling_and_rank,
    spellings,
    trained_tokens,
)
from exporter.checkpoints.files.safetensors_file import TensorHeader
from exporter.errors import CheckpointError
from exporter.models.text.spec import Role, WeightSpec

ANOTHER_BASE = "give the base model the adapter was trained on"
SAVE_AGAIN = "save it again with peft's save_pretrained"
OF_LINEARS = (Part.DOWN, Part.UP)
OF_EMBEDDINGS = (Part.EMBEDDING_DOWN, Part.EMBEDDING_UP)
FACTORS = (*OF_LINEARS, *OF_EMBEDDINGS, Part.MAGNITUDE)
VOCABULARY = (Role.EMBEDDING, Role.HEAD)


@dataclass(frozen=True)
class WeightParts:
    """whole: all of it, trained. original: the base's, as it was in training. tokens: which rows
    `token_rows` are. scaling: what the factors' product is multiplied with."""

    weight: WeightSpec
    original: StoredWeight | None = None
    whole: StoredWeight | None = None
    down: StoredWeight | None = None
    up: StoredWeight | None = None
    magnitude: StoredWeight | None = None
    scaling: float = 0.0
    tokens: tuple[int, ...] = ()
    token_rows: StoredWeight | None = None

    @property
    def has_factors(self) -> bool:
        return self.down is not None

    @property
    def is_trained(self) -> bool:
        return self.whole is not None or self.has_factors or self.token_rows is not None

    def merged(self, origin: WeightRows) -> WeightRows:
        """The weight as the adapter leaves it. origin: what the base has."""
        found = self.whole or origin
        if self.down is not None and self.up is not None:
            of_embedding = self.weight.role in (Role.EMBEDDING, Role.PER_LAYER_EMBEDDING)
            found = LowRank(found, self.down, self.up, self.scaling, of_embedding)
            if self.magnitude is not None:
                found = (ColumnMagnitudes if of_embedding else RowMagnitudes)(found, self.magnitude)
        if self.token_rows is not None:
            found = RowsReplaced(found, self.tokens, self.token_rows)
        return found

    def changes(self) -> bool:
        """Whether the weight becomes another. Reads every number there is of it, and raises CheckpointError
        for one that is not finite."""
        there = (self.original, self.whole, self.down, self.up, self.magnitude, self.token_rows)
        zero = {id(part): part.is_zero() for part in there if part is not None}
        if self.down is not None and not (zero[id(self.down)] or zero[id(self.up)]) and self.scaling:
            return True
        return self.whole is not None or self.token_rows is not None


def fit(
    tensors: AdapterTensors, weight: WeightSpec, config: AdapterConfig, tied_to: str | None = None
) -> WeightParts:
    """The parts of one weight. weight: with the rows its vocabulary has in the adapter. tied_to: the weight
    it is one with in the base, whose training was this one's too where the config speaks of that alone.

    Raises CheckpointError for parts that do not belong to it, to one another, or to the config.
    """
    parts = tensors.parts[weight.name]
    own = names = spellings(weight.name, tensors.spelled[weight.name])
    twin = () if tied_to is None else spellings(tied_to, tensors.spelled.get(tied_to, ()))
    if config.tied:
        names = (*own, *twin)
    whole, original = _whole_and_original(tensors, weight, is_saved_whole(config, names))
    tokens = trained_tokens(config, names) or trained_tokens(config, twin)
    if Part.TOKENS in parts:
        _require_token_rows(tensors, weight, parts[Part.TOKENS], tokens)
    fitted = WeightParts(
        weight,
        original=original,
        whole=whole,
        tokens=tokens,
        token_rows=_stored(tensors, parts.get(Part.TOKENS)),
    )
    if not any(part in parts for part in FACTORS):
        return fitted
    _require_adapted(tensors, weight, config, names)
    scaling, rank = scaling_and_rank(config, own)
    if config.tied and twin:  # its factors are the twin's, and so is their rank, but not what scales them
        _, rank = scaling_and_rank(config, twin)
    down, up, magnitude = _factors(tensors, weight, rank, config.dora)
    return replace(fitted, down=down, up=up, magnitude=magnitude, scaling=scaling)


def _stored(tensors: AdapterTensors, header: TensorHeader | None) -> StoredWeight | None:
    return None if header is None else StoredWeight(tensors.file, header)


def _whole_and_original(
    tensors: AdapterTensors, weight: WeightSpec, saved: bool
) -> tuple[StoredWeight | None, StoredWeight | None]:
    parts = tensors.parts[weight.name]
    whole, copy, original = (parts.get(part) for part in (Part.WHOLE, Part.COPY, Part.ORIGINAL))
    for header in (whole, copy, original):
        if header is not None and header.shape != weight.shape:
            raise CheckpointError(
                tensors.file.path,
                f"tensor {header.name:.200} is {_misshapen(header, weight.shape)}",
                ANOTHER_BASE,
            )
    if whole is not None and copy is not None and not same_bytes(tensors.file, whole, copy):
        raise _two_values(tensors, whole, copy)
    whole = whole or copy
    if whole is not None and not saved:
        # Where the vocabulary grew peft saves embeddings nobody trained, and loads them as the base's.
        if original is not None and not same_bytes(tensors.file, whole, original):
            raise _two_values(tensors, whole, original)
        whole, original = None, whole
    if original is not None and weight.role not in VOCABULARY:
        raise CheckpointError(
            tensors.file.path,
            f"tensor {original.name:.200} is a whole weight, and modules_to_save does not name it",
            f"name it there if it was trained, or {SAVE_AGAIN}",
        )
    return _stored(tensors, whole), _stored(tensors, original)


def _two_values(tensors: AdapterTensors, one: TensorHeader, other: TensorHeader) -> CheckpointError:
    return CheckpointError(
        tensors.file.path,
        f"tensors {one.name:.200} and {other.name:.200} are the same weight and differ",
        SAVE_AGAIN,
    )


def _require_token_rows(
    tensors: AdapterTensors, weight: WeightSpec, header: TensorHeader, tokens: tuple[int, ...]
) -> None:
    expected = (len(tokens), *weight.shape[1:])
    if not tokens or header.shape != expected:
        raise CheckpointError(
            tensors.file.path,
            f"tensor {header.name:.200} is {_misshapen(header, expected)} by trainable_token_indices",
            f"adapter_config.json and weights are of different adapters; {SAVE_AGAIN}",
        )
    if max(tokens) >= weight.shape[0]:
        raise CheckpointError(
            tensors.file.path,
            f"it trains token {max(tokens)} of {weight.name}, which has {weight.shape[0]} rows",
            f"save it with save_embedding_layers=True if the vocabulary was enlarged, or {ANOTHER_BASE}",
        )


def _require_adapted(
    tensors: AdapterTensors, weight: WeightSpec, config: AdapterConfig, names: tuple[str, ...]
) -> None:
    if weight.role in (Role.NORM, Role.SCALAR):
        raise CheckpointError(
            tensors.file.path,
            f"tensor {tensors.first(weight.name):.200} is a factor, and {weight.name} is a norm",
            "the file is damaged or of another method; save it again",
        )
    if not is_adapted(config, weight, names):
        raise CheckpointError(
            tensors.file.path,
            f"it has factors of {weight.name}, and target_modules, exclude_modules and modules_to_save of "
            "adapter_config.json put none there: peft would drop them",
            "mend adapter_config.json, or save the adapter again",
        )


def _factors(
    tensors: AdapterTensors, weight: WeightSpec, rank: int, dora: bool
) -> tuple[StoredWeight | None, StoredWeight | None, StoredWeight | None]:
    """A, B and the magnitudes, of the shapes they must have."""
    parts = tensors.parts[weight.name]
    out, inputs = weight.shape
    embedding = weight.role in (Role.EMBEDDING, Role.PER_LAYER_EMBEDDING)
    own, others = (OF_EMBEDDINGS, OF_LINEARS) if embedding else (OF_LINEARS, OF_EMBEDDINGS)
    if strange := [parts[part] for part in others if part in parts]:
        kinds = ("a linear", "an embedding") if embedding else ("an embedding", "a linear")
        raise CheckpointError(
            tensors.file.path,
            f"tensor {strange[0].name:.200} is a factor of {kinds[0]}, and {weight.name} is {kinds[1]}",
            ANOTHER_BASE,
        )
    looked_up, made = (out, inputs) if embedding else (inputs, out)
    expected: dict[Part, tuple[int, ...]] = {own[0]: (rank, looked_up), own[1]: (made, rank)}
    if dora:
        expected[Part.MAGNITUDE] = (made,)
    elif Part.MAGNITUDE in parts:
        raise CheckpointError(
            tensors.file.path,
            f"tensor {parts[Part.MAGNITUDE].name:.200} is a DoRA's, and use_dora is false",
            "set use_dora to true if it was trained so",
        )
    for part, shape in expected.items():
        _require_shape(tensors, weight, part, shape)
    down, up, magnitude = (_stored(tensors, parts.get(part)) for part in (*own, Part.MAGNITUDE))
    return down, up, magnitude


def _require_shape(tensors: AdapterTensors, weight: WeightSpec, part: Part, shape: tuple[int, ...]) -> None:
    header = tensors.parts[weight.name].get(part)
    if header is None:
        raise CheckpointError(
            tensors.file.path,
            f"{'.'.join(part.value)} is missing of {weight.name}, which has other factors",
            "the adapter is incomplete; fetch it again, or save it again",
        )
    if header.shape != shape:
        raise CheckpointError(
            tensors.file.path,
            f"tensor {header.name:.200} is {_misshapen(header, shape)}",
            f"{ANOTHER_BASE}, and the adapter_config.json that came with it",
        )


def _misshapen(header: TensorHeader, expected: tuple[int, ...]) -> str:
    return f"of shape {list(header.shape)}, expected {list(expected)}"
