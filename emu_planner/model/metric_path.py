"""Noise over visual codes that goes by how near their vectors lie: the metric path of DiDA.

At time t a code z that will be x has the chance p_t(z | x) = softmax_z(-beta(t) d(z, x)), with d the
squared distance of unit code vectors and beta(t) = c (t / (1 - t))^alpha: any code at t = 0, x itself
at t = 1. A code moves along it by jumps towards x, from z to y at the rate

    beta'(t) p_t(y | x) max(0, d(z, x) - d(y, x)),

which moves the least mass (Shaul et al. 2024, arXiv 2412.03487, kinetic-optimal velocity; path and
constants as in the published URSA, of which Emu3.5's DiDA is said to be part). Knows no model that
predicts x, no order of tokens, no vocabulary.

Shapes: V codes, D size of a code vector.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Cells of a table codes x V that is computed at once, 256 MiB each in float32.
_TILE_CELLS = 2**26


@dataclass(frozen=True)
class PathConfig:
    """Shape of the path. A model is adapted to one, and decodes along the same."""

    # beta(t) = c (t / (1 - t))^alpha
    c: float = 3.0
    alpha: float = 0.9
    # above 1: more of the time is spent where there is more noise; 1: even
    shift: float = 1.0

    def __post_init__(self) -> None:
        if min(self.c, self.alpha, self.shift) <= 0:
            raise ValueError(f"{self}: expected c, alpha and shift above 0")

    def time(self, share: Tensor | float) -> Tensor:
        """The time t of a share of the way, [...] in [0, 1)."""
        share = torch.as_tensor(share, dtype=torch.float64)
        return share / (share + self.shift * (1 - share))

    def beta(self, time: Tensor) -> Tensor:
        """How sharp the path is at times [...] in [0, 1)."""
        return self.c * (time / (1 - time)) ** self.alpha


class MetricPath:
    """The path over the codes of one vision tokenizer.

    Args:
        codes: their vectors [V, D], of any length above 0.
        config: see there.
    """

    def __init__(self, codes: Tensor, config: PathConfig) -> None:
        self.config = config
        self._unit = F.normalize(codes.detach().float(), dim=-1)

    @property
    def tile(self) -> int:
        """So many codes at a time keep tables of all their neighbours within memory."""
        return max(1, _TILE_CELLS // len(self._unit))

    def distances(self, codes: Tensor) -> Tensor:
        """d of codes [...] to every code, [..., V] float32 in [0, 4]."""
        return (2 - 2 * (self._unit[codes] @ self._unit.T)).clamp_(min=0)

    def noisy(self, codes: Tensor, times: Tensor, generator: torch.Generator) -> Tensor:
        """Codes [N] as they may be at times [N] in [0, 1): drawn from p_t, each for itself."""
        beta = self.config.beta(times.double()).float()
        drawn = []
        for part, sharp in zip(codes.split(self.tile), beta.split(self.tile), strict=True):
            scores = self.distances(part).mul_(-sharp[:, None])
            # Gumbel-max, with the exponential variates that `softmax` would be raced with
            chance = torch.empty_like(scores).exponential_(generator=generator).clamp_(min=2.0**-25)
            drawn.append((scores - chance.log_()).argmax(dim=-1))
        return torch.cat(drawn)

    def intensities(self, codes: Tensor, targets: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """How often each code [N] jumps to each other one on its way to its target [N], [N, V].

        The rates above, summed up from time `begin` to `end` with p taken in the middle, as beta goes:
        there they are finite everywhere, and a step errs by its third power. (With p of the step's
        beginning eight steps leave the path by up to a quarter of all chance, so by a twentieth.)
        """
        from_beta, to_beta = float(self.config.beta(begin)), float(self.config.beta(end))
        far = self.distances(targets)
        chances = (far * (-(from_beta + to_beta) / 2)).softmax(dim=-1)
        nearer = (far.gather(-1, codes[:, None]) - far).clamp_(min=0)
        return chances.mul_(nearer).mul_(to_beta - from_beta)

    def jump(self, codes: Tensor, targets: Tensor, begin: Tensor, end: Tensor, waits: Tensor) -> Tensor:
        """Codes [N] at time `end`, where they are `codes` at time `begin` and go to `targets` [N].

        Args:
            waits: exponential variates [N, V]: what happens first, happens, if it happens in time.
        """
        moments = waits / self.intensities(codes, targets, begin, end)
        first, place = moments.min(dim=-1)
        return torch.where(first < 1, place, codes)
