"""The mathematics of GRPO: from rewards to advantages, from log-probabilities to a loss.

Shao et al. 2024 (DeepSeekMath, section 4.1): plans for one prompt are a group, a plan's advantage is its
reward against its group, and the policy is held near a frozen reference. With several rewards each is
normalised before they are combined (Emu3.5 section 4.2), so none counts more because its scale is wider.
Knows no model, no token and no task.

Shapes: K rewards, B groups, G plans in a group, N chosen tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Rewards of a group that spread less than that are equal but for rounding.
_EQUAL = 1e-6


@dataclass(frozen=True)
class Objective:
    """The loss and what it is made of; means count each token with its weight."""

    loss: Tensor
    # mean of KL(policy | reference) as estimated a token, nats
    kl: Tensor
    # share of tokens whose ratio the clip held back
    clipped: Tensor


def normalise(values: Tensor, spread: str) -> Tensor:
    """Each reward against its group: mean 0, standard deviation 1; equal ones become 0. [K, B, G].

    Args:
        spread: whose standard deviation divides: "group", or "batch", the differences of all groups
            together, which lifts groups that hardly differ less.
    """
    centred = values - values.mean(dim=-1, keepdim=True)
    # equal values differ from their mean by rounding
    centred = centred.masked_fill((values == values[..., :1]).all(dim=-1, keepdim=True), 0.0)
    axes = -1 if spread == "group" else (-2, -1)
    deviation = centred.square().mean(dim=axes, keepdim=True).sqrt()
    return torch.where(deviation > _EQUAL, centred / deviation.clamp_min(_EQUAL), 0.0)


def combine(normal: Tensor, weights: Tensor) -> Tensor:
    """One advantage a plan, [B, G], of normalised rewards [K, B, G] and weights [K] above 0 in sum."""
    return torch.einsum("k,kbg->bg", weights / weights.sum(), normal)


def parts(normal: Tensor, weights: Tensor) -> Tensor:
    """How much of the advantages each reward makes, [K]: sums of |weight x normalised|, 1 in all or 0."""
    size = weights * normal.abs().sum(dim=(1, 2))
    return size / size.sum().clamp_min(_EQUAL)


def objective(
    new: Tensor,
    old: Tensor,
    reference: Tensor,
    advantages: Tensor,
    weights: Tensor,
    *,
    clip: float,
    kl_weight: float,
) -> Objective:
    """What a step minimises; tensors [N].

    Args:
        new: log-probabilities of the policy, with gradient.
        old: those of the policy that drew the tokens. reference: of the frozen model.
        advantages: of each token's plan.
        weights: how much each token counts; the loss is their weighted sum, not divided again.
        clip: the ratio counts between 1 - clip and 1 + clip.
        kl_weight: of the distance to the reference, by Schulman's estimate r - 1 - log r, which is
            never negative.
    """
    ratio = (new - old).exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * advantages, held * advantages)
    behind = reference - new
    kl = behind.exp() - 1 - behind
    loss = (weights * (kl_weight * kl - gain)).sum()
    total = weights.sum().clamp_min(1e-12)
    clipped = (held * advantages < ratio * advantages).float()
    return Objective(loss, (weights * kl).sum().detach() / total, (weights * clipped).sum() / total)
