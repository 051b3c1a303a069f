"""What `quality` compares: recipes of ours, llama.cpp's mixes and what the runtimes' own quantisers make,
each of several copies of one checkpoint.

The copies compute one function: "original" as it came, "off-grid" jittered (`off_grid`), "equalised" the
jittered one with the columns of its linears equalised as our recipes do, "rotated" the original with values
turned within each head (`rotated`). The embedding stays as it is in all of them, for nobody else's format
has a place for its vector. A recipe of ours equalises for itself, so it is not made of the equalised one.
Not about measuring.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from benchmarks.auto_rounding import STORED_NAME
from benchmarks.ggml_library import GgmlLibrary, ggml_library
from benchmarks.ggml_mixes import mixed, require_the_samples_types
from benchmarks.importance import Importance, importance, importance_in
from benchmarks.off_grid import OffGridSource, off_grid
from benchmarks.one_variant import job_for, plan_for
from benchmarks.rotated import RotatedSource, rotated
from benchmarks.vendor_quantizers import quantized_by
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_source
from exporter.planning.recipe import load_recipe
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.quantization.transforms.equalization import EqualizedSource, equalize
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights, ReferenceWeights
from exporter.workshop import quantize
from runtimes.strict_json import read_json_object

Copy = Literal["original", "off-grid", "equalised", "rotated"]
COPIES: tuple[Copy, ...] = get_args(Copy)


@dataclass(frozen=True)
class OfRecipe:
    """A recipe of ours, by name or file."""

    recipe: str


@dataclass(frozen=True)
class OfMix:
    """A mix of llama.cpp's, with an importance matrix or without."""

    mix: str
    important: bool


@dataclass(frozen=True)
class OfVendor:
    """A runtime's own quantiser, one of `vendor_quantizers.VENDORS`."""

    name: str


@dataclass(frozen=True)
class OfCheckpoint:
    """A Hugging Face directory of what another tool's codes come back as, with `stored.json`."""

    directory: Path


@dataclass(frozen=True)
class Subject:
    """name: as the table has it. weights: the copy it is made of."""

    name: str
    weights: Copy
    maker: OfRecipe | OfMix | OfVendor | OfCheckpoint

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.weights


def of_recipe(recipe: str, weights: Copy) -> Subject:
    return Subject(load_recipe(recipe).name, weights, OfRecipe(recipe))


def of_mix(mix: str, important: bool, weights: Copy) -> Subject:
    name = f"llama.cpp {mix}" + (", imatrix" if important else "")
    return Subject(name, weights, OfMix(mix, important))


def of_vendor(name: str, weights: Copy) -> Subject:
    return Subject(name, weights, OfVendor(name))


def of_checkpoint(directory: Path) -> Subject:
    """Of the original: what it was made of is not the benchmark's to choose."""
    return Subject(directory.name, "original", OfCheckpoint(directory))


@dataclass(frozen=True)
class Made:
    """A subject's weights, and the bytes of each tensor."""

    weights: ReferenceWeights
    stored: Mapping[str, int]

    def bytes_and_linear_bits(self, source: CheckpointSource) -> tuple[int, float]:
        """Of everything; and of the linears, a weight."""
        shapes = {name: each.shape for name, each in source.tensors.items()}
        linears = [name for name, shape in shapes.items() if len(shape) == 2 and ".layers." in name]
        weights = sum(math.prod(shapes[name]) for name in linears)
        return sum(self.stored.values()), 8 * sum(self.stored[name] for name in linears) / weights


class Makers:
    """The copies of one checkpoint and what is made of them. Whatever is asked for twice is made once."""

    def __init__(self, source: CheckpointSource, texts: Texts) -> None:
        self.source, self.texts = source, texts

    def make(self, subject: Subject, scratch: Path) -> Made:
        """A subject. scratch: a directory of its own, for what a recipe writes."""
        source = self.copy(subject.weights)
        match subject.maker:
            case OfRecipe(recipe):
                return self._by_recipe(source, recipe, scratch)
            case OfMix(mix, important):
                seen = self._importance_of(subject.weights) if important else None
                mixture = mixed(source, mix, seen, self._library)
                return Made(mixture, {name: mixture.stored_bytes(name) for name in source.tensors})
            case OfVendor(name):
                vendors = quantized_by(source, name)
                return Made(vendors, {name: vendors.stored_bytes(name) for name in source.tensors})
            case OfCheckpoint(directory):
                stored = read_json_object(directory / STORED_NAME)
                return Made(OriginalWeights(open_source(str(directory))), stored)

    def _by_recipe(self, source: CheckpointSource, recipe: str, scratch: Path) -> Made:
        plan = plan_for(source, recipe, (), context=128)
        checkpoint = quantize(job_for(source, plan, scratch), plan, scratch / "store")
        stored = {name: each.scheme.stored_bytes(each.shape) for name, each in checkpoint.matrices.items()}
        vectors = {name: values.nbytes for name, values in checkpoint.vectors.items()}
        return Made(UnpackedWeights(checkpoint), stored | vectors)

    def copy(self, weights: Copy) -> CheckpointSource:
        """The checkpoint in one of its copies."""
        match weights:
            case "original":
                return self.source
            case "off-grid":
                return self._off_grid
            case "equalised":
                return self._equalised
            case "rotated":
                return self._rotated

    @cached_property
    def _rotated(self) -> RotatedSource:
        return rotated(self.source)

    @cached_property
    def _off_grid(self) -> OffGridSource:
        return off_grid(self.source)

    @cached_property
    def _equalised(self) -> EqualizedSource:
        how = load_recipe("int8").equalization
        assert how is not None
        sizes = {name: np.sqrt(each) for name, each in self._importance_of("off-grid").items()}
        found = equalize(self._off_grid, sizes, how)
        embedding = self.source.components["text"].spec.embedding_name
        return replace(found, columns={name: c for name, c in found.columns.items() if name != embedding})

    @cached_property
    def _importance(self) -> Importance:
        return importance(self.source, self.texts)

    def _importance_of(self, weights: Copy) -> Importance:
        match weights:
            case "original":
                return self._importance
            case "off-grid":
                return importance_in(self._off_grid, self._importance)
            case "equalised":
                return importance_in(self._equalised, self._importance_of("off-grid"))
            case "rotated":
                return importance(self._rotated, self.texts)

    @cached_property
    def _library(self) -> GgmlLibrary:
        library = ggml_library()
        require_the_samples_types(open_source(None), library)
        return library
