"""The mathematics of GRPO, against values that were worked out by hand."""

import math

import pytest
import torch

from emu_planner.training.advantages import combine, normalise, objective, parts


def one(value: float) -> torch.Tensor:
    return torch.tensor([value])


def test_a_reward_is_normalised_in_its_group() -> None:
    # mean 0.5, deviation 0.5; then mean 4, deviation sqrt(5)
    values = torch.tensor([[[0.0, 1.0, 1.0, 0.0], [1.0, 3.0, 5.0, 7.0]]])
    far, near = 3 / math.sqrt(5), 1 / math.sqrt(5)
    expected = [[[-1.0, 1.0, 1.0, -1.0], [-far, -near, near, far]]]
    assert torch.allclose(normalise(values, "group"), torch.tensor(expected))


def test_or_by_the_deviation_of_the_whole_batch() -> None:
    # one of four differs, against a group that differs evenly: squares 3 x 1/16 + 9/16, and 4 x 1/4
    values = torch.tensor([[[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]]])
    deviation = math.sqrt((12 / 16 + 1) / 8)
    found = normalise(values, "batch")
    assert torch.allclose(found[0, 0], torch.tensor([0.25, 0.25, 0.25, -0.75]) / deviation)
    assert torch.allclose(found[0, 1], torch.tensor([-0.5, 0.5, 0.5, -0.5]) / deviation)
    # the lone plan of the first group weighs more when its own group is the measure
    assert normalise(values, "group")[0, 0, 3] < found[0, 0, 3]


@pytest.mark.parametrize("spread", ["group", "batch"])
def test_equal_plans_teach_nothing(spread: str) -> None:
    assert not normalise(torch.full((2, 3, 4), 0.7), spread).any()


def test_equal_plans_teach_nothing_beside_others_and_at_any_scale() -> None:
    beside = torch.stack([torch.full((7,), 0.7), torch.arange(7) % 2.0])[None]
    assert not normalise(beside, "batch")[0, 0].any()
    assert normalise(beside, "batch")[0, 1].any()
    assert not normalise(torch.full((1, 1, 7), -1000 / 7), "group").any()


def test_scale_and_offset_of_a_reward_do_not_matter() -> None:
    values = torch.rand(1, 5, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(normalise(values, "group"), normalise(1 + 9 * values, "group"), atol=1e-4)


def test_rewards_are_combined_after_normalisation() -> None:
    # the second has a scale a hundred times as wide, and says the opposite
    values = torch.tensor([[[0.0, 1.0]], [[100.0, 0.0]]])
    normal = normalise(values, "group")
    assert combine(normal, torch.tensor([1.0, 1.0])).tolist() == [[0.0, 0.0]]
    assert torch.allclose(combine(normal, torch.tensor([3.0, 1.0])), torch.tensor([[-0.5, 0.5]]))
    assert parts(normal, torch.tensor([3.0, 1.0])).tolist() == [0.75, 0.25]


def test_the_gradient_raises_what_was_better() -> None:
    new = torch.tensor([-1.0, -1.0], requires_grad=True)
    advantages, weights = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.5])
    found = objective(new, new.detach(), new.detach(), advantages, weights, clip=0.2, kl_weight=1.0)
    assert found.kl == 0
    assert found.clipped == 0
    assert found.loss.item() == pytest.approx(0.5)
    found.loss.backward()
    # at ratio 1 and no distance: minus weight times advantage
    assert new.grad is not None
    assert torch.allclose(new.grad, torch.tensor([-0.5, 1.0]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain", "clipped"),
    [(1.5, 1.0, 1.2, True), (0.5, 1.0, 0.5, False), (1.5, -1.0, -1.5, False), (0.5, -1.0, -0.8, True)],
)
def test_the_clip_holds_back_what_has_gone_far_enough(
    ratio: float, advantage: float, gain: float, clipped: bool
) -> None:
    new = one(math.log(ratio)).requires_grad_()
    found = objective(new, one(0.0), new.detach(), one(advantage), one(1.0), clip=0.2, kl_weight=0.0)
    assert found.loss.item() == pytest.approx(-gain)
    assert bool(found.clipped) is clipped
    found.loss.backward()
    assert new.grad is not None
    assert bool(new.grad.any()) is not clipped


def test_the_reference_pulls_back() -> None:
    new = torch.tensor([-1.0, -3.0], requires_grad=True)
    reference, weights = torch.tensor([-2.0, -2.0]), torch.tensor([0.5, 0.5])
    found = objective(new, new.detach(), reference, torch.zeros(2), weights, clip=0.2, kl_weight=2.0)
    # r - 1 - log r at log r = -1 and 1
    estimate = (math.exp(-1) + math.exp(1) - 2) / 2
    assert found.kl.item() == pytest.approx(estimate)
    assert found.loss.item() == pytest.approx(2 * estimate)
    found.loss.backward()
    assert new.grad is not None
    # more likely than in the reference: down; less likely: up
    assert new.grad[0] > 0 > new.grad[1]
