"""The quantiser's value is the nearest code; its gradient reaches codes and latents."""

import torch
from torch.nn import functional as F

from emu_planner.training.quantise import Usage, crowdedness, quantise, unit


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_values_are_the_nearest_codes():
    table = F.normalize(drawn(32, 8), dim=1)
    latent = unit(drawn(2, 8, 3, 4, seed=1))
    found = quantise(latent, table, temperature=0.1, commitment=0.25)
    flat = latent.permute(0, 2, 3, 1).reshape(-1, 8)
    nearest = torch.cdist(flat, table).argmin(1).view(2, 3, 4)
    assert torch.equal(found.ids, nearest)
    assert torch.allclose(found.codes.permute(0, 2, 3, 1), table[nearest], atol=1e-6)


def test_gradients_reach_latents_and_all_codes():
    table = F.normalize(drawn(32, 8), dim=1).requires_grad_()
    latent = unit(drawn(1, 8, 2, 2, seed=1)).requires_grad_()
    found = quantise(latent, table, temperature=0.1, commitment=0.25)
    found.codes.square().mul(drawn(1, 8, 2, 2, seed=2)).sum().backward()
    assert latent.grad is not None
    assert latent.grad.abs().sum() > 0
    assert table.grad is not None
    # index backpropagation: not only the chosen codes learn
    assert (table.grad.abs().sum(1) > 0).all()


def test_idle_codes_start_again_on_present_latents():
    table = F.normalize(drawn(16, 4), dim=1)
    latent = unit(drawn(1, 4, 8, 8, seed=3))
    usage = Usage(16, decay=0.0, device=torch.device("cpu"))
    usage.add(torch.tensor([0, 0, 1]))
    kept = table[:2].clone()
    assert usage.restart(table, latent, 0.5, torch.Generator().manual_seed(0)) == 14
    assert torch.equal(table[:2], kept)
    similarity = table[2:] @ latent.permute(0, 2, 3, 1).reshape(-1, 4).t()
    assert similarity.max(1).values.min() > 0.99


def test_crowdedness_is_zero_for_one_point_and_lower_for_spread_ones():
    same = unit(torch.ones(1, 8, 4, 4))
    spread = unit(drawn(1, 8, 16, 16))
    generator = torch.Generator().manual_seed(0)
    assert abs(crowdedness(same, generator).item()) < 1e-4
    assert crowdedness(spread, generator).item() < -1
