"""What several families read alike: layers and their kinds, RoPE parameters, tied embeddings.

Not an architecture of its own: each family's file decides which of these apply.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.text.spec import LayerSpec, Rope
from runtimes.excerpt import excerpt

FULL, SLIDING = "full_attention", "sliding_attention"


def layer_kinds(config: StrictConfig, pattern: int | None = None) -> tuple[str, ...]:
    """Kind of each layer: `layer_types` where spelled out, else every pattern-th layer is full.

    pattern: the family's fixed one; None reads `sliding_window_pattern`.
    """
    count = config.integer("num_hidden_layers")
    config.ignore("sliding_window_pattern", "_sliding_window_pattern")
    if config.has("layer_types"):
        kinds = config.strings("layer_types")
        if len(kinds) != count or not set(kinds) <= {FULL, SLIDING}:
            raise SpecError(
                f"{config.where}.layer_types",
                f"expected {count} entries of {FULL!r} or {SLIDING!r}, got {excerpt(list(kinds))}",
                "fetch the checkpoint's config.json again",
            )
        return kinds
    if pattern is None:
        spelled = "sliding_window_pattern"
        pattern = config.integer(spelled if config.has(spelled) else f"_{spelled}")
    return tuple(SLIDING if (index + 1) % pattern else FULL for index in range(count))


def single_rope(config: StrictConfig) -> Rope:
    """The one RoPE of Gemma 1 and 2, in either layout (`rope_parameters` or `rope_theta`)."""
    factor = scaling_factor(config)
    if config.has("rope_parameters"):
        config.ignore("rope_theta")
        return agreeing(config, factor, rope(config.child("rope_parameters")))
    return Rope(config.number("rope_theta"), 1.0 if factor is None else factor, rotated=1.0)


def scaling_factor(config: StrictConfig) -> float | None:
    """What `rope_scaling` of transformers 4 divides positions by; None where it says nothing."""
    if not config.has("rope_scaling"):
        return None
    scaling = config.child("rope_scaling")
    factor = scaling.number("factor") if rope_kind(scaling, "default", "linear") == "linear" else 1.0
    scaling.expect("factor", factor, None)
    scaling.refuse_unread()
    return factor


def agreeing(config: StrictConfig, factor: float | None, found: Rope) -> Rope:
    """The RoPE found, unless `rope_scaling` says otherwise: transformers would let that one win."""
    if factor is not None and factor != found.linear_factor:
        raise SpecError(
            f"{config.where}.rope_scaling",
            f"has factor {factor}, rope_parameters has {found.linear_factor}",
            "delete the one the model was not trained with",
        )
    return found


def rope_kind(config: StrictConfig, *allowed: str) -> str:
    """`rope_type`, or `type` as files before transformers 4.45 spell it; "default" without either."""
    spelled = "rope_type" if config.has("rope_type") else "type"
    kind = config.string(spelled) if config.has(spelled) else "default"
    for key in ("rope_type", "type"):
        config.expect(key, kind, None)
    config.expect(spelled, *allowed)
    return kind


def ropes_by_kind(config: StrictConfig) -> dict[str, Rope]:
    """`rope_parameters` with an entry per layer kind."""
    both = config.child("rope_parameters")
    ropes = {kind: rope(both.child(kind)) for kind in (FULL, SLIDING)}
    both.refuse_unread()
    return ropes


def rope(config: StrictConfig) -> Rope:
    """One entry of `rope_parameters`: default, linear (factor) or proportional (partial_rotary_factor)."""
    kind = rope_kind(config, "default", "linear", "proportional")
    found = Rope(
        theta=config.number("rope_theta"),
        linear_factor=config.number("factor") if kind == "linear" else 1.0,
        rotated=config.number("partial_rotary_factor") if kind == "proportional" else 1.0,
    )
    config.expect("factor", found.linear_factor)
    config.expect("partial_rotary_factor", found.rotated)
    if found.rotated > 1.0:
        raise SpecError(
            f"{config.where}.partial_rotary_factor", "more than all of a head cannot turn", "correct it"
        )
    config.refuse_unread()
    return found


def uniform_layers(
    config: StrictConfig, ropes: Sequence[Rope], windows: Sequence[int | None]
) -> tuple[LayerSpec, ...]:
    """The layers of Gemma 1 to 3, which differ in nothing but RoPE and window."""
    heads, kv_heads = config.integer("num_attention_heads"), config.integer("num_key_value_heads")
    head_dim, inner = config.integer("head_dim"), config.integer("intermediate_size")
    return tuple(
        LayerSpec(
            index=index,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            window=window,
            rope=rope,
            intermediate_size=inner,
            kv_source=index,
            value_from_key=False,
        )
        for index, (rope, window) in enumerate(zip(ropes, windows, strict=True))
    )


def tied_embedding(config: StrictConfig) -> bool:
    """Published files leave `tie_word_embeddings` out: every Gemma config class of transformers ties
    unless told otherwise."""
    return not config.has("tie_word_embeddings") or config.boolean("tie_word_embeddings")
