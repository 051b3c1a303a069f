"""`Components`: the parts of a model that have weights, a computation and artifacts of their own.

A text decoder always, and an image tower where the checkpoint holds one. Every decision by name ends in
`assert_never`. Not about how a component is described in a release (`runtimes.manifest`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, assert_never, overload

from exporter.models.text.spec import ModelSpec, WeightSpec
from exporter.models.vision.spec import VisionSpec
from runtimes.manifest import ComponentName, EncoderArtifact, Port


@dataclass(frozen=True)
class TextComponent:
    """The text decoder. inputs, outputs: what it takes and returns, in order."""

    spec: ModelSpec
    inputs: tuple[Port, ...] = ("tokens",)
    outputs: tuple[Port, ...] = ("logits",)

    name: Literal["text"] = "text"

    @property
    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight it has, in graph order."""
        return self.spec.weights()


@dataclass(frozen=True)
class VisionComponent:
    """The image tower, with what brings its rows into the text model's width."""

    spec: VisionSpec
    inputs: tuple[Port, ...] = ("pixels",)
    outputs: tuple[Port, ...] = ("image rows",)

    name: Literal["vision"] = "vision"

    @property
    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight it has, in graph order."""
        return self.spec.weights()


Component = TextComponent | VisionComponent
TEXT_ALONE: tuple[ComponentName, ...] = ("text",)
EVERY_COMPONENT: tuple[ComponentName, ...] = ("text", "vision")


def wanted_components(said: str | None) -> tuple[ComponentName, ...] | None:
    """Those of a list with commas, None where nothing was said: all there are."""
    return None if said is None else tuple(name for name in EVERY_COMPONENT if name in said.split(","))


Text = TypeVar("Text")
Vision = TypeVar("Vision")


@dataclass(frozen=True)
class Parts(Mapping[ComponentName, Text | Vision], Generic[Text, Vision]):
    """Something of each component, by name: asked for one, it has that one's type. vision: None for a model
    of text alone."""

    text: Text
    vision: Vision | None = None

    @overload
    def __getitem__(self, name: Literal["text"]) -> Text: ...
    @overload
    def __getitem__(self, name: Literal["vision"]) -> Vision: ...
    def __getitem__(self, name: ComponentName) -> Text | Vision:
        match name:
            case "text":
                return self.text
            case "vision":
                if self.vision is None:
                    raise KeyError(name)
                return self.vision
            case _:
                assert_never(name)

    def __iter__(self) -> Iterator[ComponentName]:
        yield "text"
        if self.vision is not None:
            yield "vision"

    def __len__(self) -> int:
        return 1 if self.vision is None else 2


Components = Parts[TextComponent, VisionComponent]
"""The components of one checkpoint. No two have a weight of one name."""


def text_alone(spec: ModelSpec) -> Components:
    """A model that is a text decoder and nothing else."""
    return Components(TextComponent(spec))


def unused_tower(components: Components, encoders: Sequence[EncoderArtifact]) -> tuple[str, ...]:
    """That a release is blind though its checkpoint sees, a sentence; nothing of any other. encoders: the
    release's."""
    if components.vision is None or encoders:
        return ()
    return (
        "It takes text alone: none of its formats takes images here, and the checkpoint's image tower is "
        "in no file of it.",
    )
