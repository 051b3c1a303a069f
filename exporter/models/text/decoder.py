"""The one Gemma text decoder, for every family and every runtime.

Steps of `decode` (config.json names in brackets):
  (1) embed tokens, times sqrt(hidden_size); Gemma 4 E: rows of the second embedding, times sqrt(width)
  (2) Gemma 4 E: per-layer inputs from those rows and a projection of the embedded tokens
  (3) each layer: norm, attention, [post] norm, residual; norm, gated MLP, [post] norm, residual
  (4) Gemma 4: per-layer input joins the residual; the layer's scalar multiplies it
  (5) final norm, head, [final_logit_softcapping]

(1) alone needs the tokens: a runtime may do it outside its graph and call `decode_embedded`.

Not about weights, caches or runtimes: those are the `Dialect`'s. The residual stream is kept at
`ops.residual_scale` times its true size: norms that read it use eps * scale², what joins it is
scaled on the way, so the result is exact at any scale.
"""

from __future__ import annotations

import math

from torch import Tensor

from exporter.models.text.dialect import Dialect, Lookup
from exporter.models.text.spec import COLUMNS_NAME, LayerSpec, ModelSpec, PerLayerEmbedding


def decode(spec: ModelSpec, ops: Dialect, tokens: Tensor) -> Tensor:
    """Logits of tokens [1, tokens]: [1, kept, vocab], kept as `ops.wanted_positions` decides."""
    # (1)
    ple = spec.per_layer_embedding
    rows = None if ple is None else embed_per_layer(spec, ple, ops, tokens)
    return decode_embedded(spec, ops, embed(spec, ops, tokens), rows)


def embed(spec: ModelSpec, ops: Lookup, tokens: Tensor) -> Tensor:
    """Tokens [1, tokens] as the decoder takes them in: [1, tokens, hidden]."""
    rows = ops.embed(tokens, spec.embedding_name)
    if spec.embedding_columns:
        rows = rows * ops.vector(COLUMNS_NAME)
    return rows * spec.embedding_scale


def embed_per_layer(spec: ModelSpec, ple: PerLayerEmbedding, ops: Lookup, tokens: Tensor) -> Tensor:
    """Each layer's rows for tokens [1, tokens]: [1, tokens, layers, width]."""
    shape = (1, tokens.shape[1], len(spec.layers), ple.width)
    return ops.embed(tokens, spec.per_layer_embedding_name).reshape(shape) * math.sqrt(ple.width)


def decode_embedded(spec: ModelSpec, ops: Dialect, embedded: Tensor, rows: Tensor | None) -> Tensor:
    """`decode` of what `embed` and `embed_per_layer` return; rows: None for models without them."""
    scale = ops.residual_scale
    residual_eps = spec.norm_eps * scale**2

    x = embedded if scale == 1.0 else embedded * scale
    # (2)
    per_layer = None if rows is None else _per_layer_inputs(spec, ops, embedded, rows)
    for layer in spec.layers:
        # (3)
        x = x + _attention(spec, ops, layer, x)
        x = x + _mlp(spec, ops, layer, x)
        # (4)
        if per_layer is not None:
            x = x + _per_layer_branch(spec, ops, layer, x, per_layer[:, :, layer.index])
        if spec.layer_scalars:
            x = x * ops.vector(f"{layer.prefix}layer_scalar")
    # (5)
    x = ops.norm(ops.wanted_positions(x), "model.norm.weight", residual_eps)
    (logits,) = ops.project(x, (spec.head_name,))
    return logits if spec.final_softcap is None else ops.softcap(logits, spec.final_softcap)


def _attention(spec: ModelSpec, ops: Dialect, layer: LayerSpec, x: Tensor) -> Tensor:
    p = f"{layer.prefix}self_attn."
    tokens = x.shape[1]
    h = ops.norm(x, f"{layer.prefix}input_layernorm.weight", spec.norm_eps * ops.residual_scale**2)
    names = [f"{p}q_proj.weight"]
    if layer.owns_cache:
        names.append(f"{p}k_proj.weight")
        if not layer.value_from_key:
            names.append(f"{p}v_proj.weight")
    projected = ops.project(h, names)

    q = projected[0].reshape(1, tokens, layer.heads, layer.head_dim)
    if spec.qk_norm:
        q = ops.norm(q, f"{p}q_norm.weight", spec.norm_eps)
    k = v = None
    if layer.owns_cache:
        raw_key = projected[1].reshape(1, tokens, layer.kv_heads, layer.head_dim)
        k = ops.norm(raw_key, f"{p}k_norm.weight", spec.norm_eps) if spec.qk_norm else raw_key
        if layer.value_from_key:
            v = raw_key
        else:
            v = projected[2].reshape(1, tokens, layer.kv_heads, layer.head_dim)
        if spec.v_norm:
            v = ops.norm(v, None, spec.norm_eps)
    return _join(
        spec,
        ops,
        ops.attend(layer, q, k, v),
        f"{p}o_proj.weight",
        f"{layer.prefix}post_attention_layernorm.weight",
    )


def _mlp(spec: ModelSpec, ops: Dialect, layer: LayerSpec, x: Tensor) -> Tensor:
    h = ops.norm(x, f"{layer.prefix}{spec.mlp_norm}.weight", spec.norm_eps * ops.residual_scale**2)
    gate, up = ops.project(h, (f"{layer.prefix}mlp.gate_proj.weight", f"{layer.prefix}mlp.up_proj.weight"))
    return _join(
        spec,
        ops,
        ops.gelu(gate) * up,
        f"{layer.prefix}mlp.down_proj.weight",
        f"{layer.prefix}post_feedforward_layernorm.weight",
    )


def _join(spec: ModelSpec, ops: Dialect, h: Tensor, linear: str, post_norm: str) -> Tensor:
    """A branch on its way into the residual stream, at the stream's scale."""
    scale = ops.residual_scale
    if spec.post_norms:
        (h,) = ops.project(h, (linear,))
        return ops.norm(h, post_norm, spec.norm_eps, scale)
    (h,) = ops.project(h if scale == 1.0 else h * scale, (linear,))
    return h


def _per_layer_inputs(spec: ModelSpec, ops: Dialect, embedded: Tensor, rows: Tensor) -> Tensor:
    """[1, tokens, layers, width]: (norm(projection) + rows) / sqrt(2)."""
    (projected,) = ops.project(embedded, ("model.per_layer_model_projection.weight",))
    projected = (projected * spec.hidden_size**-0.5).reshape(rows.shape)
    projected = ops.norm(projected, "model.per_layer_projection_norm.weight", spec.norm_eps)
    return (projected + rows) * math.sqrt(0.5)


def _per_layer_branch(
    spec: ModelSpec, ops: Dialect, layer: LayerSpec, x: Tensor, per_layer: Tensor
) -> Tensor:
    scale = ops.residual_scale
    (gate,) = ops.project(x, (f"{layer.prefix}per_layer_input_gate.weight",))
    gate = gate if scale == 1.0 else gate * (1.0 / scale)
    (h,) = ops.project(ops.gelu(gate) * per_layer, (f"{layer.prefix}per_layer_projection.weight",))
    return ops.norm(h, f"{layer.prefix}post_per_layer_input_norm.weight", spec.norm_eps, scale)
