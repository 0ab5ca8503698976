"""What stands between float8 products, in torch's own pieces: what fp8_kernels.py does in one each.

Products come without their scales: those of rows, [N, 1], and of the weight, [O], are applied here.

Shapes: N rows, W width, O outputs, I inner width, H heads of queries, keys and values, D head size.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from emu_planner.model.fp8 import quantise_plainly


class Added(NamedTuple):
    """What a product adds to the stream [N, W]; scales None: they are applied."""

    made: Tensor
    # of rows [N, 1] and of outputs [W], float32
    scales: Tensor | None
    scale: Tensor | None


def add(stream: Tensor, added: Added) -> Tensor:
    """The stream with what is added, in the stream's own memory."""
    made = added.made.float()
    if added.scales is not None and added.scale is not None:
        made = made * added.scales * added.scale
    return stream.copy_(stream.float() + made)


def add_and_quantise(
    stream: Tensor, added: Added | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Add to the stream [N, W], in place; its RMS norm as float8 rows and their scales."""
    if added is not None:
        add(stream, added)
    return quantise_plainly(F.rms_norm(stream.float(), weight.shape, weight.float(), eps))


def scale_and_rotate(
    made: Tensor, scales: Tensor, scale: Tensor, norms: Tensor, rope: tuple[Tensor, ...], eps: float
) -> Tensor:
    """Queries, keys and values [N, H, D] of a product [N, H D].

    The first heads, as many as `norms` [.., D] has, are normalised and rotated by cosines and sines [N, D].
    """
    heads, size = norms.shape
    cos, sin = (part.float()[:, None] for part in rope)
    full = (made.float() * scales * scale).view(len(made), -1, size)
    turned = F.rms_norm(full[:, :heads], (size,), None, eps) * norms.float()
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((turned, full[:, heads:]), dim=1).to(made.dtype)


def gate_and_quantise(made: Tensor, scales: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """silu(gate) * up of a product [N, 2 I], as float8 rows and their scales."""
    gate, up = (made.float() * scales * scale).chunk(2, dim=-1)
    return quantise_plainly(F.silu(gate) * up)
