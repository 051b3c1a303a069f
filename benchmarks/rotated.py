"""A function-preserving copy of a checkpoint whose values are rotated within each head.

What folds exactly in a Gemma: v's rows of a head by a rotation, and o's columns of every query head that
reads it by the same one, since attention only averages values. A norm of values (Gemma 4) is no
hindrance, having no gain: lengths stay. q and k cannot (RoPE turns pairs, q and k norms have gains), nor
what lies between up and down (a product with the gate), nor the residual stream: each norm between a
sublayer and the addition has gains, which a rotation does not pass. Where v is k (k_eq_v), nothing turns.
The rotations are seeded, orthogonal, in float64 and applied as rows are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.derived_source import DerivedSource
from exporter.checkpoints.interface import CheckpointSource
from exporter.models.text.spec import LayerSpec

Rotation = NDArray[np.float64]


@dataclass(frozen=True)
class RotatedSource(DerivedSource):
    """rotations: of a v or o projection, one a head of its rows (v) or columns (o), [heads, size, size]."""

    rotations: Mapping[str, Rotation]

    @property
    def rewritten(self) -> Collection[str]:
        return self.rotations.keys()

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        if name not in self.rotations:
            return self.base.rows(name, start, stop)
        heads = self.rotations[name]
        if name.endswith("o_proj.weight"):
            values = self.base.rows(name, start, stop).reshape(stop - start, *heads.shape[:2])
            turned = np.einsum("rhi,hji->rhj", values, heads)  # each head's columns, like its values
            return np.asarray(turned.reshape(stop - start, -1), np.float32)
        size = heads.shape[1]
        first, last = start // size, -(-stop // size)
        values = self.base.rows(name, first * size, last * size).reshape(last - first, size, -1)
        turned = np.einsum("hji,hic->hjc", heads[first:last], values)
        rows = turned.reshape((last - first) * size, -1)[start - first * size :][: stop - start]
        return np.asarray(rows, np.float32)

    def digests(self) -> Mapping[str, str]:
        digest = hashlib.sha256()
        for name in sorted(self.rotations):
            digest.update(name.encode())
            digest.update(self.rotations[name].tobytes())
        return {**self.base.digests(), "(rotations)": digest.hexdigest()}


def rotated(source: CheckpointSource, seed: int = 0) -> RotatedSource:
    """The copy, its rows computed as they are read."""
    random = np.random.default_rng(seed)
    spec = source.components["text"].spec
    found: dict[str, Rotation] = {}
    for layer in spec.layers:
        readers = [other for other in spec.layers if other.kv_source == layer.index]
        if not layer.owns_cache or layer.value_from_key:
            continue
        heads = np.stack([_orthogonal(random, layer.head_dim) for _ in range(layer.kv_heads)])
        found[f"{layer.prefix}self_attn.v_proj.weight"] = heads
        for reader in readers:
            found[f"{reader.prefix}self_attn.o_proj.weight"] = _of_queries(heads, reader)
    return RotatedSource(source, found)


def _of_queries(heads: Rotation, reader: LayerSpec) -> Rotation:
    return np.repeat(heads, reader.heads // reader.kv_heads, axis=0)


def _orthogonal(random: np.random.Generator, size: int) -> Rotation:
    """Uniform among rotations: QR of a normal matrix, signs of R's diagonal put right."""
    q, r = np.linalg.qr(random.standard_normal((size, size)))
    return np.asarray(q * np.sign(np.diag(r)), np.float64)
