"""`Components`: the parts of a model that have weights, a computation and artifacts of their own.

A text decoder always, an image tower and an audio encoder where the checkpoint holds them. Every decision
by name ends in `assert_never`. Not about how a component is described in a release (`runtimes.manifest`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, assert_never, overload

from exporter.models.audio.spec import AudioSpec
from exporter.models.text.spec import ModelSpec, WeightSpec
from exporter.models.vision.spec import VisionSpec
from runtimes.manifest import ComponentName, EncoderArtifact, Port, TowerName


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


@dataclass(frozen=True)
class AudioComponent:
    """The audio encoder, with what brings its rows into the text model's width."""

    spec: AudioSpec
    inputs: tuple[Port, ...] = ("sound",)
    outputs: tuple[Port, ...] = ("sound rows",)

    name: Literal["audio"] = "audio"

    @property
    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight it has, in graph order."""
        return self.spec.weights()


Component = TextComponent | VisionComponent | AudioComponent
Tower = VisionComponent | AudioComponent
"""What makes rows for the text decoder."""
TEXT_ALONE: tuple[ComponentName, ...] = ("text",)
EVERY_COMPONENT: tuple[ComponentName, ...] = ("text", "vision", "audio")


def wanted_components(said: str | None) -> tuple[ComponentName, ...] | None:
    """Those of a list with commas, None where nothing was said: all there are."""
    return None if said is None else tuple(name for name in EVERY_COMPONENT if name in said.split(","))


Text = TypeVar("Text")
Vision = TypeVar("Vision")
Audio = TypeVar("Audio")


@dataclass(frozen=True)
class Parts(Mapping[ComponentName, Text | Vision | Audio], Generic[Text, Vision, Audio]):
    """Something of each component, by name: asked for one, it has that one's type. vision, audio: None for
    a model without."""

    text: Text
    vision: Vision | None = None
    audio: Audio | None = None

    @overload
    def __getitem__(self, name: Literal["text"]) -> Text: ...
    @overload
    def __getitem__(self, name: Literal["vision"]) -> Vision: ...
    @overload
    def __getitem__(self, name: Literal["audio"]) -> Audio: ...
    @overload
    def __getitem__(self, name: ComponentName) -> Text | Vision | Audio: ...
    def __getitem__(self, name: ComponentName) -> Text | Vision | Audio:
        match name:
            case "text":
                return self.text
            case "vision":
                found: Vision | Audio | None = self.vision
            case "audio":
                found = self.audio
            case _:
                assert_never(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[ComponentName]:
        yield "text"
        if self.vision is not None:
            yield "vision"
        if self.audio is not None:
            yield "audio"

    def __len__(self) -> int:
        return sum(1 for _ in self)


Components = Parts[TextComponent, VisionComponent, AudioComponent]
"""The components of one checkpoint. No two have a weight of one name."""


def towers_of(components: Components) -> tuple[Tower, ...]:
    """What makes rows for the text decoder, as far as it is there."""
    return tuple(each for each in (components.vision, components.audio) if each is not None)


def text_alone(spec: ModelSpec) -> Components:
    """A model that is a text decoder and nothing else."""
    return Components(TextComponent(spec))


def unused_tower(components: Components, encoders: Sequence[EncoderArtifact]) -> tuple[str, ...]:
    """That a release is blind or deaf though its checkpoint is not, a sentence each; nothing of any other.
    encoders: the release's."""
    taken = {each.component for each in encoders}
    return tuple(UNUSED[each.name] for each in towers_of(components) if each.name not in taken)


UNUSED: Mapping[TowerName, str] = {
    "vision": "It takes no images: none of its formats does here, and the checkpoint's image tower is in "
    "no file of it.",
    "audio": "It takes no sounds: none of its formats does here, and the checkpoint's audio encoder is in "
    "no file of it.",
}


def input_words(images: bool, sounds: bool) -> str | None:
    """What a release takes, to be written behind "text"; None where that is all."""
    match images, sounds:
        case True, True:
            return ", images and sounds"
        case True, False:
            return " and images"
        case False, True:
            return " and sounds"
        case _:
            return None
