"""The decoder-only language model of Emu3.5 (BAAI 2025, section 2.2), at any size.

Single-device mathematics: token ids in, logits out. Knows no sampling, no image grammar, no file.
Parameter names are the published checkpoint's, so its tensors load by name; they are also those
of transformers' Qwen3ForCausalLM.

Shapes: B rows, S new tokens, T tokens attended to, H query heads, K key/value heads, D head size.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

# Up to this many new tokens, plain matrix products beat the fused kernel on CPUs: 2 to 7 times.
SHORT_QUERY = 128


@dataclass(frozen=True)
class TransformerConfig:
    """Size of the model; field names are those of the published config.json."""

    # text ids, special ids and visual codes together
    vocab_size: int
    # width of the residual stream
    hidden_size: int
    # width inside the SwiGLU feed-forward
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    # each serves num_attention_heads / num_key_value_heads query heads
    num_key_value_heads: int
    head_dim: int = 128
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    # longest sequence that the model was trained on, tokens
    max_position_embeddings: int = 32768

    def __post_init__(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )


class Cache(Protocol):
    """Keys and values of the tokens so far, kept by the engine."""

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k, v [B, K, S, D] of one layer; return all of that layer, [B, K, T, D]."""
        ...


@runtime_checkable
class PackedCache(Protocol):
    """Keys and values of many sequences, whose N new tokens stand behind each other in one row."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Append k, v [1, K, N, D]; attention [1, H, N, D] of q [1, H, N, D], each within its sequence."""
        ...


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension, statistics in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] -> [..., size]."""
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Grouped-query attention; queries and keys are normalised per head before RoPE."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        width = config.hidden_size
        self.q_proj = nn.Linear(width, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, width, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        layer: int,
        cache: Cache | PackedCache | None,
        mask: Tensor | BlockMask | None,
    ) -> Tensor:
        """x [B, S, width] -> [B, S, width]; mask as from mask_scores."""
        rows, new, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(rows, new, self.heads, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(rows, new, self.kv_heads, self.head_dim)).transpose(1, 2)
        v = self.v_proj(x).view(rows, new, self.kv_heads, self.head_dim).transpose(1, 2)
        # under autocast the rotation is float32, and the products shall not be
        q, k = rotate(q, rope).to(v.dtype), rotate(k, rope).to(v.dtype)
        if isinstance(cache, PackedCache):
            out = cache.attend(layer, q, k, v)
        else:
            if cache is not None:
                k, v = cache.update(layer, k, v)
            out = attention(q, k, v, mask)
        return self.o_proj(out.transpose(1, 2).reshape(rows, new, self.heads * self.head_dim))


class MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One pre-norm block: attention, then feed-forward, each added to the stream."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        layer: int,
        cache: Cache | PackedCache | None,
        mask: Tensor | BlockMask | None,
    ) -> Tensor:
        """[B, S, width] -> [B, S, width]."""
        x = x + self.self_attn(self.input_layernorm(x), rope, layer, cache, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, layers and final norm; named `model` in checkpoints."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Transformer(nn.Module):
    """The whole language model, with an untied output head."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(
        self,
        ids: Tensor,
        *,
        cache: Cache | None = None,
        position: int = 0,
        rows: slice | None = None,
    ) -> Tensor:
        """Logits [B, S, V] float32 of the token after each of ids [B, S]."""
        return self.head(self.hidden(ids, cache=cache, position=position), rows)

    def hidden(
        self,
        ids: Tensor,
        *,
        cache: Cache | PackedCache | None = None,
        position: int = 0,
        positions: Tensor | None = None,
        mask: Tensor | BlockMask | None = None,
    ) -> Tensor:
        """The normalised last hidden state, [B, S, width].

        Args:
            ids: [B, S] new tokens; they attend to the cache and causally to each other.
            cache: keys and values of the tokens before them. A PackedCache also says who sees whom:
                then B is 1, `positions` are needed, and there is no mask.
            position: absolute position of the first new token.
            positions: [B, S] absolute positions instead, for packed sequences.
            mask: who sees whom, instead of causal: bool [B or 1, 1, S, T], or a BlockMask.
        """
        x = self.model.embed_tokens(ids)
        new = ids.shape[1]
        if positions is None:
            positions = torch.arange(position, position + new, device=ids.device)[None]
        if not isinstance(mask, BlockMask) and not isinstance(cache, PackedCache):
            mask = mask_scores(mask, new, position + new, ids.device)
        rope = rotary(positions, self.config.head_dim, self.config.rope_theta, x.dtype)
        for index, layer in enumerate(self.model.layers):
            x = layer(x, rope, index, cache, mask)
        return self.model.norm(x)

    def head(self, hidden: Tensor, rows: slice | None = None) -> Tensor:
        """Logits in float32 for the vocabulary's `rows` (all of it by default)."""
        weight = self.lm_head.weight if rows is None else self.lm_head.weight[rows]
        return F.linear(hidden, weight).float()

    def initialise(self, seed: int) -> None:
        """Normal(0, 0.02) weights, unit norms; residual outputs scaled by depth (GPT-2)."""
        generator = torch.Generator().manual_seed(seed)
        depth_scale = (2 * self.config.num_hidden_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                nn.init.ones_(parameter)
                continue
            scale = depth_scale if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
            nn.init.normal_(parameter, std=0.02 * scale, generator=generator)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | BlockMask | None) -> Tensor:
    """The fastest attention [B, H, S, D] of q [B, H, S, D] to k, v [B, K, T, D]; mask as from mask_scores."""
    if isinstance(mask, BlockMask):
        return flex_attention(q, k, v, block_mask=mask, enable_gqa=True)
    return (attend_short if q.shape[2] <= SHORT_QUERY else attend)(q, k, v, mask)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Fused attention of q [B, H, S, D] to k, v [B, K, T, D]; mask bool, or None: causal, S = T."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)


def attend_short(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The same for few queries, as two matrix products a key/value head; softmax in float32.

    mask: float32, added to the scores; None: every query sees every key.
    """
    rows, heads, new, size = q.shape
    kv_heads, total = k.shape[1], k.shape[2]
    grouped = q.reshape(rows, kv_heads, heads // kv_heads * new, size)
    scores = grouped @ k.transpose(2, 3)
    if mask is None:
        scores = scores.float() * size**-0.5
    else:
        scores = scores.view(rows, kv_heads, -1, new, total)
        scores = torch.add(mask.unsqueeze(2), scores, alpha=size**-0.5).view(rows, kv_heads, -1, total)
    out = torch.softmax(scores, dim=-1).to(v.dtype) @ v
    return out.view(rows, heads, new, size)


def mask_scores(mask: Tensor | None, new: int, total: int, device: torch.device) -> Tensor | None:
    """The mask as attention takes it, once for all layers.

    Args:
        mask: bool [B or 1, 1, S, T], who sees whom; None: causal.
        new, total: S and T of the causal one.

    Returns:
        For attend_short float32, 0 or -inf; for attend bool; None where neither needs one.
    """
    if mask is None:
        if new == 1 or new == total > SHORT_QUERY:
            return None
        mask = torch.ones(1, 1, new, total, dtype=torch.bool, device=device).tril(total - new)
    if new > SHORT_QUERY:
        return mask
    return torch.zeros(mask.shape, device=device).masked_fill_(~mask, -torch.inf)


def rotary(positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines [B, 1, S, D] of RoPE (Su et al. 2021) at positions [B, S]."""
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions.float()[..., None] * theta**-exponents
    angles = torch.cat((angles, angles), dim=-1)[:, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Apply RoPE in the half-split layout to x [B, heads, S, D]."""
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
