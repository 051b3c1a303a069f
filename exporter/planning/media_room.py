"""Whether a context has room for an image or a sound with words beside it, and for how long a sound.

Not about a prompt that is there (`exporter.running.media`), nor about what a tower takes of memory
(`estimates`).
"""

from __future__ import annotations

from collections.abc import Iterator

from exporter.errors import PlanError
from exporter.formats.table import facts_of, takes_images
from exporter.models.components import Components
from exporter.models.text.spec import ModelSpec
from exporter.models.vision.spec import SOFT_TOKENS, SiglipSpec
from exporter.planning.variants import Variant
from runtimes.sounds.processing import SoundLength

MARKS = 2  # tokens: what begins and ends an image or a sound
BESIDE = 32  # tokens at least: validation puts 26 of text around one
SHORTEST_SOUND = 1.2  # seconds: validation's first sound lasts as long


def sound_that_fits(variant: Variant) -> SoundLength | None:
    """The longest that is heard with words beside it; None where none are."""
    return None if variant.sound is None else variant.sound.within(variant.context - MARKS - BESIDE)


def remark_on_sounds(variant: Variant) -> tuple[str, ...]:
    """That the context has room for a shorter sound than the model hears, and that a vendor's tools hear a
    long one in pieces, a sentence each."""
    fits = sound_that_fits(variant)
    if variant.sound is None or fits is None:
        return ()
    return (*_on_room(variant, variant.sound, fits), *_on_pieces(variant, fits))


def _on_pieces(variant: Variant, longest: SoundLength) -> Iterator[str]:
    for format in variant.formats:
        call = facts_of(format).sound_call
        if call is not None and call < longest.soft_tokens:
            piece = f"{longest.scaled(call).seconds:g} s"
            yield (
                f"{format}: of a sound of more than {piece} LiteRT-LM hears each {piece} by itself, as if "
                "nothing had come before, and may answer otherwise than `gemma-export run`, which hears it "
                "whole. Cut longer sounds where nobody speaks, or keep them shorter."
            )


def _on_room(variant: Variant, heard: SoundLength, fits: SoundLength) -> tuple[str, ...]:
    if fits == heard:
        return ()
    return (
        f"The context of {variant.context:,} tokens has room for a sound of {fits.words} with {BESIDE} "
        f"tokens of words beside it; the model hears {heard.words} of one.",
    )


def require_room_beside(spec: ModelSpec, variant: Variant, asked_context: int) -> None:
    """Raise PlanError for a context without room for an image, or for validation's first sound, with its
    two marks and words beside it, where a format takes such. spec: of the text model. asked_context: before
    it was rounded up, which is what somebody typed."""
    rounded = "" if variant.context == asked_context else f", rounded up to {variant.context},"
    where, no_room = f"--context {asked_context}", f"has{rounded} no room for words beside"
    left = variant.context - MARKS - BESIDE
    sees = any(takes_images(each, spec) for each in variant.formats)
    if sees and variant.soft_tokens is not None and variant.soft_tokens > left:
        raise PlanError(
            where,
            f"{no_room} an image, which takes {variant.soft_tokens} tokens and two, and {BESIDE} are "
            "wanted for them",
            "choose a longer one, fewer --image-tokens where the model lets you, or --components text",
        )
    shortest = None if variant.sound is None else variant.sound.lasting(SHORTEST_SOUND)
    if shortest is not None and shortest.soft_tokens > left:
        raise PlanError(
            where,
            f"{no_room} even a short sound: {shortest.words} take two tokens more, and {BESIDE} are "
            "wanted for words",
            "choose a longer one, or leave sounds out with --components text or text,vision",
        )


def require_budget(components: Components, soft_tokens: int | None) -> None:
    """Raise PlanError for soft tokens that the tower does not make of an image."""
    tower = components.vision
    if soft_tokens is None:
        return
    where = f"--image-tokens {soft_tokens}"
    if tower is None:
        raise PlanError(
            where,
            "no image tower is exported that could make them",
            "leave it out; where the checkpoint has one, --components or its config.json leaves it out",
        )
    own = tower.spec.soft_tokens if isinstance(tower.spec, SiglipSpec) else None
    if own is not None and soft_tokens != own:
        raise PlanError(
            where, f"{tower.spec.model_type} makes {own} of every image", "leave it out, or say that"
        )
    if own is None and soft_tokens not in SOFT_TOKENS:
        raise PlanError(
            where,
            f"{tower.spec.model_type} makes at most one of {', '.join(map(str, SOFT_TOKENS))}",
            "choose one of them",
        )
