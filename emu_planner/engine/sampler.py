"""From logits to one token: guidance, temperature, top-k, top-p, chance. Knows no grammar.

Chance is Gumbel-max noise drawn for every id of the choice, so what is drawn depends on the seed
and on how many choices of that width came before, never on the logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Smallest exponential variate: below it, float32 noise holds exact zeros that would always win.
_LEAST = 2.0**-25


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen."""

    # divides the logits; 0: always the most likely token
    temperature: float = 1.0
    # keep that many most likely tokens; 0: all
    top_k: int = 0
    # of these, keep the most likely ones until their probabilities exceed this sum
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"{self}: expected temperature >= 0, top_k >= 0 and 0 < top_p <= 1")

    @property
    def certain(self) -> bool:
        """Whether the most likely token is always chosen, without chance."""
        return self.temperature == 0 or self.top_k == 1


def guide(logits: Tensor, scale: float, image_scale: float = 1.0) -> Tensor:
    """Classifier-free guidance of logits [2, ..., V] or [3, ..., V]: rows c, u and n.

    c is the whole sequence, u the one without words, n the one without words and pictures.
    Two rows: u + scale (c - u). Three: n + image_scale (u - n) + scale (c - u).

    Published on log-softmax values over the whole vocabulary; on logits of any part of it the
    result differs by one constant, which no later step sees.
    """
    conditional, unconditional, *rest = logits
    if not rest:
        return unconditional + scale * (conditional - unconditional)
    (bare,) = rest
    return bare + image_scale * (unconditional - bare) + scale * (conditional - unconditional)


class Sampler:
    """Draws tokens from a generator of its own: the same seed and logits give the same tokens."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self._generator = torch.Generator(device).manual_seed(seed)

    @property
    def seed(self) -> int:
        """What it began with."""
        return self._generator.initial_seed()

    def pick(self, logits: Tensor, sampling: Sampling) -> Tensor:
        """Index, as a tensor without dimensions, into logits [V] float32; -inf is never picked."""
        return choose(logits, sampling, self.noise(logits, sampling))

    def noise(self, like: Tensor, sampling: Sampling) -> Tensor | None:
        """The chance [V] that the next choice among as many ids takes; None: it takes none."""
        return None if sampling.certain else self.fill(torch.empty_like(like))

    def fill(self, noise: Tensor) -> Tensor:
        """Draw the chance of the next choice into a tensor; returns it."""
        return self._waits_into(noise).log_()

    def waits(self, like: Tensor) -> Tensor:
        """Exponential variates of the shape [...] of `like`, float32, mean 1, never 0."""
        return self._waits_into(torch.empty_like(like))

    def any_of(self, ids: int, count: int) -> Tensor:
        """`count` numbers below `ids`, each as likely as any other, [count]."""
        device = self._generator.device
        return torch.randint(ids, (count,), generator=self._generator, device=device)

    def _waits_into(self, out: Tensor) -> Tensor:
        return out.exponential_(generator=self._generator).clamp_(min=_LEAST)


def choose(logits: Tensor, sampling: Sampling, noise: Tensor | None) -> Tensor:
    """Indices [...] into logits [..., V], with noise of that shape from Sampler.noise.

    Order: temperature, top-k, top-p, chance. As published, tokens as likely as the last of the
    top-k stay, and top-p counts them.
    """
    if noise is None:
        return logits.argmax(dim=-1)
    scores = logits / sampling.temperature
    if 0 < sampling.top_k < scores.shape[-1]:
        least = scores.topk(sampling.top_k, sorted=False).values.amin(dim=-1, keepdim=True)
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampling.top_p >= 1:
        return (scores - noise).argmax(dim=-1)
    scores, ids = scores.sort(dim=-1, descending=True)
    chance = scores.softmax(dim=-1)
    # a token stays when those above it do not exceed top_p yet; the first always stays
    late = chance.cumsum(dim=-1) - chance > sampling.top_p
    scores = scores.masked_fill(late, -torch.inf)
    best = (scores - noise.gather(-1, ids)).argmax(dim=-1, keepdim=True)
    return ids.gather(-1, best).squeeze(-1)
