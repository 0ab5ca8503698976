"""The transformer's pass with fewer, larger pieces of work: for passes over few tokens on a GPU.

There a pass is a chain of small kernels, and each costs its start. So q, k and v are one product, gate
and up another, queries and keys are normalised and rotated together, and the stream takes what a block
adds inside the product that makes it. The mathematics is the model's (model/transformer.py), whose
weights these are: what is rounded between two operations differs, nothing else.

Shapes: B rows, S new tokens, H query heads, K key/value heads, D head size.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emu_planner.model.shared import local, put, reducer
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


class _Joined(NamedTuple):
    """Weights of one layer."""

    # [(H + 2 K) D, width], and of the norms of queries and keys [H + K, D]
    qkv: Tensor
    norms: Tensor
    out: Tensor
    # [2 x inner width, width]
    gate_up: Tensor
    down: Tensor
    before_attention: RMSNorm
    before_mlp: RMSNorm


class FusedTransformer:
    """A model's passes over few tokens; stands where a Transformer does in step.py.

    The model's weights of one kind are moved behind each other, and stay its own: no second copy is kept.

    Args:
        model: on one device, with plain linear layers; or this process's part of one.
    """

    def __init__(self, model: Transformer) -> None:
        self.config, self.model, self.lm_head = model.config, model.model, model.lm_head
        self.head = model.head
        self._reduce = reducer(model)
        # a norm without weights has no kernel of its own everywhere
        self._ones = self.lm_head.weight.detach().new_ones(self.config.head_dim)
        self._layers = [_join_layer(cast(Layer, layer)) for layer in model.model.layers]

    def hidden(
        self, ids: Tensor, *, cache: Cache | PackedCache, positions: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """See Transformer.hidden."""
        c = self.config
        rows, new = ids.shape
        x = self.model.embed_tokens(ids)
        if not isinstance(cache, PackedCache):
            mask = mask_scores(mask, new, new, ids.device)
        cos, sin = rotary(positions, c.head_dim, c.rope_theta, x.dtype)
        # [B, S, 1, D]; of the second factor the first half is negative: see _rotate
        cos, sin = cos.transpose(1, 2), sin.transpose(1, 2)
        sin = torch.cat((-sin[..., : c.head_dim // 2], sin[..., c.head_dim // 2 :]), dim=-1)
        stream, kv = x.view(rows * new, -1), c.num_key_value_heads
        heads = c.num_attention_heads + kv
        for index, layer in enumerate(self._layers):
            made = F.linear(layer.before_attention(stream), layer.qkv).view(rows, new, heads + kv, -1)
            # values too: a part of it would be copied first
            qk = F.rms_norm(made, (c.head_dim,), self._ones, c.rms_norm_eps)[:, :, :heads] * layer.norms
            qk = _rotate(qk, cos, sin).transpose(1, 2)
            q, k = qk[:, :-kv], qk[:, -kv:]
            v = made[:, :, heads:].transpose(1, 2)
            if isinstance(cache, PackedCache):
                seen = cache.attend(index, q, k, v)
            else:
                seen = attention(q, *cache.update(index, k, v), mask)
            self._add(stream, seen.transpose(1, 2).reshape(rows * new, -1), layer.out)
            gate, up = F.linear(layer.before_mlp(stream), layer.gate_up).chunk(2, dim=-1)
            self._add(stream, F.silu(gate) * up, layer.down)
        return self.model.norm(stream).view(rows, new, -1)

    def _add(self, stream: Tensor, x: Tensor, weight: Tensor) -> None:
        """Add a product to the stream; where processes have parts of its inputs, their sum."""
        if self._reduce is None:
            stream.addmm_(x, weight.T)
        else:
            stream.add_(self._reduce(F.linear(x, weight)))


def can_fuse(model: Transformer) -> bool:
    """Whether the model's products are plain ones, with weights that can be moved."""
    parts = [part for name, part in model.model.layers.named_modules() if name.endswith("_proj")]
    return all(isinstance(part, nn.Linear) and part.bias is None for part in parts)


@torch.no_grad()
def _join_layer(layer: Layer) -> _Joined:
    a, mlp = layer.self_attn, layer.mlp
    dtype = a.q_proj.weight.dtype
    norms = [a.q_norm.weight.expand(a.heads, -1), a.k_norm.weight.expand(a.kv_heads, -1)]
    return _Joined(
        _join([a.q_proj, a.k_proj, a.v_proj]),
        torch.cat(norms).to(dtype),
        local(a.o_proj.weight),
        _join([mlp.gate_proj, mlp.up_proj]),
        local(mlp.down_proj.weight),
        layer.input_layernorm,
        layer.post_attention_layernorm,
    )


def _join(parts: Sequence[nn.Linear]) -> Tensor:
    """The weights of products of one input behind each other; the parts' own lie in it afterwards."""
    weights = [local(part.weight) for part in parts]
    first, rows = weights[0], sum(len(weight) for weight in weights)
    ends = [weight.data_ptr() + weight.nbytes for weight in weights]
    is_joined = ends[:-1] == [weight.data_ptr() for weight in weights[1:]] and all(
        weight.untyped_storage().data_ptr() == first.untyped_storage().data_ptr() for weight in weights
    )
    if is_joined:  # by another decoder of this model
        return first.as_strided((rows, first.shape[1]), (first.shape[1], 1))
    whole = torch.cat(weights)
    for part, weight in zip(parts, whole.split([len(weight) for weight in weights]), strict=True):
        put(part, weight)
    if whole.is_cuda:
        # what they had is given back at once: in a full memory the next ones need that room
        del weights, first
        torch.cuda.empty_cache()
    return whole


def _rotate(x: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """RoPE in the half-split layout of x [B, S, heads, D]."""
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((second, first), dim=-1), signed_sin)
