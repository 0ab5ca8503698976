"""How the vision tokenizer's codes are learned: index backpropagation on the unit sphere.

IBQ (Shi et al. 2024) lets the gradient reach every code through a softmax over all of them. Plain
IBQ on random codes collapsed to a handful here, so three things are added: latents and codes
have unit length, codes start from latents of a warmed-up encoder, and codes that nobody uses
start again from present latents. At inference the code of a latent is the largest dot product,
as published: the latent's length does not change which one that is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Quantised:
    """What one pass of `quantise` gives."""

    # code vectors [B, D, h, w], with a gradient to latents and codes
    codes: Tensor
    # which code each is, [B, h, w]
    ids: Tensor
    # distance between latents and codes, both ways
    loss: Tensor


def unit(latent: Tensor) -> Tensor:
    """Latents [B, D, h, w] of length 1, in float32."""
    return F.normalize(latent.float(), dim=1)


def quantise(latent: Tensor, table: Tensor, *, temperature: float, commitment: float) -> Quantised:
    """Replace each latent by its code, differentiably.

    The value is the hard code E[i], i = argmax <z, E>. Codes learn by index backpropagation, all
    of them, through p E with p = softmax(<sg(z), E> / t); latents learn straight through.
    Distances count as a share of the latents' variance: shrinking the latents gains nothing.

    Args:
        latent: [B, D, h, w] of unit length.
        table: [N, D] codes of unit length.
        temperature: of the softmax, as a share of the latents' variance.
        commitment: weight of pulling latents to codes, against 1 for pulling codes to latents.
    """
    batch, size, height, width = latent.shape
    flat = latent.permute(0, 2, 3, 1).reshape(-1, size)
    variance = flat.var(dim=0).sum()
    fixed = flat.detach()
    scores = fixed @ table.t()
    ids = scores.argmax(dim=1)
    soft = torch.softmax(scores / (temperature * variance.detach()), dim=1)
    chosen = F.embedding(ids, table)
    expected = soft @ table
    passed = chosen.detach() + (flat - fixed) + (expected - expected.detach())
    loss = (chosen - fixed).square().sum(1).mean() / variance.detach()
    loss = loss + commitment * (chosen.detach() - flat).square().sum(1).mean() / variance
    codes = passed.view(batch, height, width, size).permute(0, 3, 1, 2)
    return Quantised(codes, ids.view(batch, height, width), loss)


def crowdedness(latent: Tensor, generator: torch.Generator, sample: int = 1024) -> Tensor:
    """Log of the mean of exp(-2 |a - b|^2) over pairs of latents: the uniformity loss.

    Source: Wang and Isola 2020, section 4.1. latent [B, D, h, w] of unit length.
    """
    flat = latent.permute(0, 2, 3, 1).reshape(-1, latent.shape[1])
    rows = torch.randint(len(flat), (sample,), generator=generator).to(flat.device)
    some = flat[rows]
    squared = 2 - 2 * some @ some.t()
    return torch.logsumexp(-2 * squared.flatten(), dim=0) - 2 * torch.log(
        torch.tensor(float(sample), device=flat.device)
    )


class Usage:
    """Counts how often each code is used and starts idle ones again.

    Args:
        codes: how many there are.
        decay: of the running count, per batch.
    """

    def __init__(self, codes: int, decay: float, device: torch.device) -> None:
        self.decay = decay
        self.count = torch.ones(codes, device=device)

    def add(self, ids: Tensor) -> None:
        """Count one batch of ids of any shape."""
        seen = torch.bincount(ids.flatten(), minlength=len(self.count)).float()
        self.count.mul_(self.decay).add_(seen, alpha=1 - self.decay)

    @torch.no_grad()
    def restart(self, table: Tensor, latent: Tensor, below: float, generator: torch.Generator) -> int:
        """Move codes used less than `below` times a batch onto present latents.

        A latent is drawn in proportion to its squared distance from its nearest code (k-means++,
        Arthur and Vassilvitskii 2007): codes go where pictures are badly described, not where
        most of the pixels are.

        Args:
            table: [N, D], changed in place.
            latent: [B, D, h, w] of unit length.

        Returns:
            How many codes were moved.
        """
        idle = torch.nonzero(self.count < below)[:, 0]
        flat = latent.detach().permute(0, 2, 3, 1).reshape(-1, latent.shape[1])
        if len(idle) == 0:
            return 0
        distance = (2 - 2 * (flat @ table.t()).amax(dim=1)).clamp_min(1e-6).cpu()
        pick = torch.multinomial(distance, len(idle), replacement=True, generator=generator)
        noise = 0.01 * torch.randn(len(idle), flat.shape[1], generator=generator)
        moved = flat[pick.to(flat.device)] + noise.to(flat.device)
        table[idle] = F.normalize(moved, dim=1).to(table.dtype)
        self.count[idle] = 1.0
        return len(idle)
