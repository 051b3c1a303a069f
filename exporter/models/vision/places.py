"""Whether a tower knows every place that a patch of a picture can have.

Position tables of published towers are far longer than any picture. One that is shorter is read beyond its
end by a long, narrow picture, which ONNX Runtime refuses and other runtimes need not: no release may be
made that takes such. Not about what the tables hold (`spec`).
"""

from __future__ import annotations

from typing import assert_never

from exporter.errors import SpecError
from exporter.models.vision.spec import (
    SOFT_TOKENS,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
    VisionSpec,
)


def places_in_a_row(spec: VisionSpec, soft_tokens: int) -> int:
    """How many patches in a row a picture of so many soft tokens can have: all its squares may stand in
    one."""
    match spec:
        case SiglipSpec():
            return spec.side
        case PatchTowerSpec():
            return spec.kernel * soft_tokens
        case PatchEmbedderSpec():
            return soft_tokens
        case _:
            assert_never(spec)


def require_places(spec: VisionSpec, soft_tokens: int | None, model: str) -> None:
    """Raise SpecError for a picture of so many soft tokens that may go beyond the tower's position tables.

    soft_tokens: None where no images are taken. model: whose config.json says how long they are.
    """
    if soft_tokens is None or isinstance(spec, SiglipSpec):
        return
    needed = places_in_a_row(spec, soft_tokens)
    if needed <= spec.positions:
        return
    key = "position_embedding_size" if isinstance(spec, PatchTowerSpec) else "mm_posemb_size"
    fitting = [str(each) for each in SOFT_TOKENS if places_in_a_row(spec, each) <= spec.positions]
    have = f"a picture of {soft_tokens} soft tokens may have {needed} patches in a row"
    fewer = f"give --image-tokens {' or '.join(fitting)}, or leave" if fitting else "leave"
    raise SpecError(
        f"config.json of {model}: vision_config.{key}",
        f"is {spec.positions}, and {have}",
        f"{fewer} images out with --components text",
    )
