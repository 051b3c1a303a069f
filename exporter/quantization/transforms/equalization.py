"""`EqualizedSource`: the same function in weights that quantise better.

A column of a matrix may be divided by c if what enters it is multiplied by c. Where the input comes
from a norm, c goes into its gain; where it comes from another matrix's rows (up into down, v into o),
into those; not where o's rows are of few bits in groups, which lose a tenth less as they are
(docs/adr/0036). The tied embedding has nothing before it: its vector is kept beside it, looked-up rows
are multiplied with it, and the final norm's gain makes up for it in the head.

    c = weights^a / inputs^b, of mean exponent 0, rounded to a power of 2^(1/4)

weights: largest |w| of the column over all matrices that share the input. inputs: RMS of x over
calibration text. b moves precision to the columns that large inputs meet (AWQ, Lin et al. 2023); a
evens out what a scale must cover. Where rows have one scale each, that is only where a descent begins
(`fitted_columns`), whose c is rounded to a power of 2^(1/8). The embedding takes
c = (largest |w| / RMS of its row)^e:
in Gemma a few columns are many times larger than the rest in every row, and set the scale alone.
Rounded, so that another machine's last bit gives the same bytes.

Not about finding codes. Not for sources whose integers are taken over as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.derived_source import DerivedSource
from exporter.checkpoints.interface import CheckpointSource, Vector
from exporter.models.components import Components
from exporter.models.text.spec import COLUMNS_NAME, LayerSpec, ModelSpec
from exporter.planning.recipe import Equalization
from exporter.quantization.transforms.fitted_columns import MOST_ROWS, fitted_columns

Activations = Mapping[str, Vector]
"""Linear's weight name to the RMS of each of its inputs, [in]."""

CHUNK_BYTES = 32 << 20
DIGEST_NAME = "(equalisation)"  # among the digests of a source's files
SMALLEST = np.float32(1e-6)  # below it, a column or input is as good as absent
LARGEST_EXPONENT = 8
STEPS, FITTED_STEPS = 4, 8  # of an exponent that is rounded: quarters, eighths


@dataclass(frozen=True)
class EqualizedSource(DerivedSource):
    """A `CheckpointSource` that computes what `base` does.

    columns: matrix to what its columns are divided by. row_factors: matrix to what its rows are
    multiplied with. gains: norm to what its effective gain is multiplied with.
    """

    columns: Mapping[str, Vector]
    row_factors: Mapping[str, Vector]
    gains: Mapping[str, Vector]

    @property
    def components(self) -> Components:
        text = self.base.components["text"]
        spec = replace(text.spec, embedding_columns=text.spec.embedding_name in self.columns)
        return replace(self.base.components, text=replace(text, spec=spec))

    @property
    def rewritten(self) -> Collection[str]:
        return self.columns.keys() | self.row_factors.keys()

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        if name == COLUMNS_NAME:
            return self.columns[self.components["text"].spec.embedding_name][start:stop]
        values = self.base.rows(name, start, stop)
        if name in self.gains:
            one = np.float32(1.0 if self.components["text"].spec.norm_adds_one else 0.0)
            return (values + one) * self.gains[name][start:stop] - one
        if name in self.columns:
            values = values / self.columns[name]
        if name in self.row_factors:
            values = values * self.row_factors[name][start:stop, None]
        return values

    def digests(self) -> Mapping[str, str]:
        digest = hashlib.sha256()
        for table in (self.columns, self.row_factors, self.gains):
            for name in sorted(table):
                digest.update(name.encode())
                digest.update(table[name].tobytes())
        return {**self.base.digests(), DIGEST_NAME: digest.hexdigest()}


def equalize(
    source: CheckpointSource,
    activations: Activations,
    how: Equalization,
    by_row: Collection[str] = frozenset(),
    in_groups: Collection[str] = frozenset(),
) -> EqualizedSource:
    """Find the vectors. Reads every matrix once, or twice where factors are fitted; peak memory is one row
    chunk, and then also MOST_ROWS rows of the matrices that share an input.

    activations: of at least the linears behind norms and the down and o projections. by_row: matrices
    whose rows will have one scale each. in_groups: those of few bits with a scale for every group.
    """
    find = _Factors(source, activations, how, by_row)
    columns: dict[str, Vector] = {}
    row_factors: dict[str, Vector] = {}
    gains: dict[str, Vector] = {}
    spec = source.components["text"].spec
    for layer in spec.layers:
        for norm, names in _behind_norms(spec, layer):
            gains[norm] = factor = find.shared_by(names, np.arange(spec.hidden_size))
            columns.update(dict.fromkeys(names, factor))
        down, up = f"{layer.prefix}mlp.down_proj.weight", f"{layer.prefix}mlp.up_proj.weight"
        inputs = np.arange(source.tensors[down].shape[1])
        columns[down] = row_factors[up] = find.shared_by((down,), inputs)
        o, v = f"{layer.prefix}self_attn.o_proj.weight", f"{layer.prefix}self_attn.v_proj.weight"
        if o not in in_groups and _has_values_of_its_own(spec, layer):
            values = _value_of_input(layer)
            row_factors[v] = factor = find.shared_by((o,), values)
            columns[o] = factor[values]
    if spec.tied_embedding:
        name = spec.embedding_name
        columns[name] = _powers(how.embedding * np.log2(_largest_normalised(source, name)))
    return EqualizedSource(source, columns, row_factors, gains)


def _behind_norms(spec: ModelSpec, layer: LayerSpec) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A norm, and all the matrices its result goes into."""
    p = layer.prefix
    attention = ["q_proj"]
    if layer.owns_cache:
        attention += ["k_proj"] if layer.value_from_key else ["k_proj", "v_proj"]
    yield f"{p}input_layernorm.weight", tuple(f"{p}self_attn.{name}.weight" for name in attention)
    yield f"{p}{spec.mlp_norm}.weight", (f"{p}mlp.gate_proj.weight", f"{p}mlp.up_proj.weight")


def _has_values_of_its_own(spec: ModelSpec, layer: LayerSpec) -> bool:
    """Whether v's rows reach this layer's o and nothing else, unnormalised."""
    shared = any(other.kv_source == layer.index != other.index for other in spec.layers)
    return layer.owns_cache and not (shared or layer.value_from_key or spec.v_norm)


def _value_of_input(layer: LayerSpec) -> NDArray[np.intp]:
    """Which of v's rows each of o's inputs is from: query heads that share a value head have one."""
    values = np.arange(layer.kv_heads * layer.head_dim).reshape(layer.kv_heads, 1, layer.head_dim)
    shape = (layer.kv_heads, layer.heads // layer.kv_heads, layer.head_dim)
    return np.broadcast_to(values, shape).reshape(-1)


@dataclass(frozen=True)
class _Factors:
    """The factors of a source's columns. by_row: matrices whose rows have one scale each."""

    source: CheckpointSource
    activations: Activations
    how: Equalization
    by_row: Collection[str]

    def shared_by(self, names: Sequence[str], shared: NDArray[np.intp]) -> Vector:
        """Of matrices with one input. shared: which factor each of their columns has, [in]."""
        inputs = self.activations[names[0]]
        largest = np.maximum.reduce([_largest(self.source, name) for name in names])
        weights, sizes = (_largest_of(each, shared) for each in (largest, inputs))
        factors = _factors(weights, sizes, self.how)
        if not all(name in self.by_row for name in names):
            return factors
        some = [_some_rows(self.source, name) for name in names]
        return _powers(fitted_columns(some, inputs, shared, factors), FITTED_STEPS)


def _largest_of(values: Vector, shared: NDArray[np.intp]) -> Vector:
    """The largest of what shares a factor, [factors]."""
    found = np.zeros(shared.max() + 1, np.float32)
    np.maximum.at(found, shared, values)
    return found


def _some_rows(source: CheckpointSource, name: str) -> NDArray[np.float32]:
    """MOST_ROWS of a matrix at most, evenly spaced."""
    every = -(-source.tensors[name].shape[0] // MOST_ROWS)
    found, before = [], 0
    for rows in _chunks(source, name):
        found.append(rows[-before % every :: every])
        before += len(rows)
    return np.concatenate(found)


def _largest(source: CheckpointSource, name: str) -> Vector:
    """Largest |w| of each column, [in]."""
    found: Vector = np.maximum.reduce([np.abs(rows).max(axis=0) for rows in _chunks(source, name)])
    return found


def _largest_normalised(source: CheckpointSource, name: str) -> Vector:
    """Largest |w| of each column once rows have RMS 1, [in], at least SMALLEST."""
    found = []
    for rows in _chunks(source, name):
        size = np.sqrt(np.square(rows).mean(axis=1, keepdims=True))
        found.append(np.abs(rows / np.maximum(size, SMALLEST)).max(axis=0))
    largest: Vector = np.maximum(np.maximum.reduce(found), SMALLEST)
    return largest


def _chunks(source: CheckpointSource, name: str) -> Iterator[NDArray[np.float32]]:
    count, inputs = source.tensors[name].shape
    step = max(1, CHUNK_BYTES // (inputs * 4))
    for start in range(0, count, step):
        yield source.rows(name, start, min(count, start + step))


def _factors(weights: Vector, inputs: Vector, how: Equalization) -> Vector:
    exponents = how.weights * np.log2(np.maximum(weights, SMALLEST)) - how.activations * np.log2(
        np.maximum(inputs, SMALLEST)
    )
    return _powers(exponents)


def _powers(exponents: NDArray[Any], steps: int = STEPS) -> Vector:
    """2 to the nearest quarter, or other part, as half precision has it, which is how Core ML keeps the
    embedding's; the mean exponent moved to 0 and none beyond LARGEST_EXPONENT."""
    centred = (exponents - exponents.mean()).clip(-LARGEST_EXPONENT, LARGEST_EXPONENT)
    powers: Vector = np.exp2(np.rint(centred * steps) / steps).astype(np.float16).astype(np.float32)
    return powers
