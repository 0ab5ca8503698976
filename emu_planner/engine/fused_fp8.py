"""fused.py for a model with float8 weights: what stands between its products makes float8 rows at once.

A block is four products and as many pieces between them, each one kernel on a GPU: add to the stream,
normalise and quantise; scale, normalise and rotate queries and keys; quantise what attention gives; gate
and quantise. Products are plain ones: their scales, of rows and of weights, are applied by the piece that
reads them. What is rounded between two operations differs from Fp8Linear's, nothing else. Nothing waits
for the device or brings a value from the host, so a pass can be recorded.

Shapes: N rows (B sequences x S new tokens), W width, O outputs, I inner width, H query heads, K
key/value heads, D head size.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from emu_planner.engine import fp8_pieces
from emu_planner.model.fp8 import Fp8Config, Fp8Linear, multiply, multiply_scaled, quantise
from emu_planner.model.transformer import (
    Cache,
    Layer,
    PackedCache,
    RMSNorm,
    Transformer,
    attention,
    mask_scores,
    rotary,
)

_log = logging.getLogger(__name__)


class Pieces(Protocol):
    """What stands between products; fp8_pieces.py says what each does."""

    add_and_quantise: Callable[..., tuple[Tensor, Tensor]]
    scale_and_rotate: Callable[..., Tensor]
    gate_and_quantise: Callable[..., tuple[Tensor, Tensor]]


class _Product(NamedTuple):
    """Weight [O, I'] float8 and scale [O] of one product."""

    weight: Tensor
    scale: Tensor
    # of products whose inputs are spread over devices
    reduce: Callable[[Tensor], Tensor] | None = None


class _Joined(NamedTuple):
    """Weights of one layer; norms of queries and keys [H + K, D]."""

    qkv: _Product
    norms: Tensor
    out: _Product
    gate_up: _Product
    down: _Product
    before_attention: RMSNorm
    before_mlp: RMSNorm


class FusedFp8Transformer:
    """A float8 model's passes over few tokens; stands where a Transformer does in step.py.

    The model's weights of one kind are moved behind each other, and stay its own: no second copy is kept.

    Args:
        model: on one device; see can_fuse_fp8.
        pieces: what stands between products; None: the fastest that the device has.
    """

    def __init__(self, model: Transformer, pieces: Pieces | None = None) -> None:
        self.config, self.model, self.lm_head = model.config, model.model, model.lm_head
        self.head = model.head
        self._layers = [_join_layer(cast(Layer, layer)) for layer in model.model.layers]
        first = cast(Layer, model.model.layers[0]).self_attn.q_proj
        self._products: Fp8Config = cast(Fp8Linear, first).config
        self._pieces = pieces or best_pieces(model)

    def hidden(
        self, ids: Tensor, *, cache: Cache | PackedCache, positions: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """See Transformer.hidden."""
        c, p = self.config, self._pieces
        rows, new = ids.shape
        x = self.model.embed_tokens(ids)
        dtype, kv = x.dtype, c.num_key_value_heads
        if not isinstance(cache, PackedCache):
            mask = mask_scores(mask, new, new, ids.device)
        cos, sin = rotary(positions.expand(rows, -1), c.head_dim, c.rope_theta, dtype)
        rope = cos.reshape(rows * new, -1), sin.reshape(rows * new, -1)
        stream = x.view(rows * new, -1)
        added: fp8_pieces.Added | None = None
        for index, layer in enumerate(self._layers):
            read, scales = p.add_and_quantise(stream, added, layer.before_attention.weight, c.rms_norm_eps)
            made = multiply(read, layer.qkv.weight, dtype, self._products)
            made = p.scale_and_rotate(made, scales, layer.qkv.scale, layer.norms, rope, c.rms_norm_eps)
            made = made.view(rows, new, -1, c.head_dim).transpose(1, 2)
            q, k, v = made[:, : -2 * kv], made[:, -2 * kv : -kv], made[:, -kv:]
            if isinstance(cache, PackedCache):
                seen = cache.attend(index, q, k, v)
            else:
                seen = attention(q, *cache.update(index, k, v), mask)
            added = self._close(*quantise(seen.transpose(1, 2).reshape(rows * new, -1)), layer.out, dtype)
            read, scales = p.add_and_quantise(stream, added, layer.before_mlp.weight, c.rms_norm_eps)
            made = multiply(read, layer.gate_up.weight, dtype, self._products)
            gated = p.gate_and_quantise(made, scales, layer.gate_up.scale)
            added = self._close(*gated, layer.down, dtype)
        if added is not None:
            stream = fp8_pieces.add(stream, added)
        return self.model.norm(stream).view(rows, new, -1)

    def _close(self, read: Tensor, scales: Tensor, product: _Product, dtype: torch.dtype) -> fp8_pieces.Added:
        """What a block's last product adds to the stream."""
        if product.reduce is None:
            made = multiply(read, product.weight, dtype, self._products)
            return fp8_pieces.Added(made, scales, product.scale)
        made = multiply_scaled(read, scales, product.weight, product.scale, dtype, self._products)
        return fp8_pieces.Added(product.reduce(made), None, None)


def can_fuse_fp8(model: Transformer) -> bool:
    """Whether the model's products are all of float8, and stand in its dtype without their scales."""
    fits = model.lm_head.weight.dtype in (torch.bfloat16, torch.float32)
    parts = [part for name, part in model.model.layers.named_modules() if name.endswith("_proj")]
    return fits and all(type(part) is Fp8Linear for part in parts)


def best_pieces(model: Transformer) -> Pieces:
    """The fastest pieces for the model's device. Kernels are tried once: they are compiled there."""
    weight, size = model.lm_head.weight, model.config.head_dim
    if not weight.is_cuda or size < 16 or size & (size - 1):
        return cast(Pieces, fp8_pieces)
    try:
        from emu_planner.engine import fp8_kernels

        with torch.cuda.device(weight.device):
            fp8_kernels.try_all(weight.device, weight.dtype, size)
            torch.cuda.synchronize()
    except Exception as error:  # no Triton, no compiler, or a card that it does not know
        _log.warning("fp8: activations are quantised in several pieces, which is slower: %s", error)
        return cast(Pieces, fp8_pieces)
    return cast(Pieces, fp8_kernels)


@torch.no_grad()
def _join_layer(layer: Layer) -> _Joined:
    a, mlp = layer.self_attn, layer.mlp
    dtype = layer.input_layernorm.weight.dtype
    norms = [a.q_norm.weight.expand(a.heads, -1), a.k_norm.weight.expand(a.kv_heads, -1)]
    return _Joined(
        _join(a.q_proj, a.k_proj, a.v_proj),
        torch.cat(norms).to(dtype),
        _join(a.o_proj),
        _join(mlp.gate_proj, mlp.up_proj),
        _join(mlp.down_proj),
        layer.input_layernorm,
        layer.post_attention_layernorm,
    )


def _join(*modules: torch.nn.Module) -> _Product:
    """Products of one input as one; the parts' own weights lie in it afterwards."""
    parts = cast(list[Fp8Linear], modules)
    scale = torch.cat([part.scale for part in parts])
    if len(parts) == 1:
        return _Product(parts[0].weight, scale, parts[0].reduce)
    first, sizes = parts[0].weight, [len(part.weight) for part in parts]
    ends = [part.weight.data_ptr() + part.weight.nbytes for part in parts]
    if ends[:-1] == [part.weight.data_ptr() for part in parts[1:]] and all(
        part.weight.untyped_storage().data_ptr() == first.untyped_storage().data_ptr() for part in parts
    ):  # by another decoder of this model
        return _Product(first.as_strided((sum(sizes), first.shape[1]), (first.shape[1], 1)), scale)
    whole = torch.cat([part.weight.view(torch.uint8) for part in parts]).view(first.dtype)
    for part, weight in zip(parts, whole.split(sizes), strict=True):
        part.weight = weight
    if whole.is_cuda:
        del first
        torch.cuda.empty_cache()
    return _Product(whole, scale)
