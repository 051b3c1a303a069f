"""`Component`: one part of a model that has weights, a computation and artifacts of its own.

The text decoder is the only one there is: `Components` has no other key, so asking for another does not
pass the type checker, and every decision by name ends in `assert_never`. Not about how a component is
described in a release (`runtimes.manifest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.models.text.spec import ModelSpec, WeightSpec
from runtimes.manifest import ComponentName, Port


@dataclass(frozen=True)
class Component:
    """inputs, outputs: what it takes and returns, in order."""

    name: ComponentName
    spec: ModelSpec
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight it has, in graph order."""
        return self.spec.weights()


Components = Mapping[ComponentName, Component]
"""The components of one checkpoint, by name. No two have a weight of one name."""


def text_alone(spec: ModelSpec) -> Components:
    """A model that is a text decoder and nothing else."""
    return {"text": Component("text", spec, inputs=("tokens",), outputs=("logits",))}
