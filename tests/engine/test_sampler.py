"""Sampling: what can be picked, how often, and from which seed."""

import pytest
import torch

from emu_planner.engine.sampler import Sampler, Sampling, guide

LOGITS = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))


def draw(sampling, count=4000, seed=0, logits=LOGITS):
    sampler = Sampler(seed)
    return torch.stack([sampler.pick(logits, sampling) for _ in range(count)])


def shares(picked):
    return picked.bincount(minlength=4) / len(picked)


def test_frequencies_are_the_probabilities():
    assert torch.allclose(shares(draw(Sampling())), LOGITS.exp(), atol=0.03)


def test_temperature_sharpens():
    expected = (2 * LOGITS).softmax(0)
    assert torch.allclose(shares(draw(Sampling(temperature=0.5))), expected, atol=0.03)


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(top_k=2), {0, 1}),
        (Sampling(top_k=9), {0, 1, 2, 3}),
        (Sampling(top_p=0.4), {0}),
        (Sampling(top_p=0.6), {0, 1}),
        (Sampling(top_p=0.9), {0, 1, 2}),
        # 0.5 / 0.8 of the two that top-k keeps is above 0.6: top-p comes after top-k
        (Sampling(top_k=2, top_p=0.6), {0}),
    ],
)
def test_truncation(sampling, kept):
    assert set(draw(sampling, 500).tolist()) == kept


def test_a_token_at_exactly_top_p_keeps_the_next_one_as_published():
    assert set(draw(Sampling(top_p=0.5), 200, logits=torch.zeros(2)).tolist()) == {0, 1}
    assert set(draw(Sampling(top_p=0.49), 200, logits=torch.zeros(2)).tolist()) == {0}


def test_tokens_as_likely_as_the_last_of_the_top_k_stay_as_published():
    tied = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0])
    for top_p in (1.0, 0.99):
        assert set(draw(Sampling(top_k=2, top_p=top_p), 300, logits=tied).tolist()) == {0, 1, 2, 3}
    # the first takes 0.475 of the four that stay, of two it would take 0.73
    assert set(draw(Sampling(top_k=2, top_p=0.5), 300, logits=tied).tolist()) > {0}


def test_greedy_takes_the_most_likely_and_no_chance():
    assert set(draw(Sampling(temperature=0.0), 20).tolist()) == {0}
    assert set(draw(Sampling(top_k=1), 20).tolist()) == {0}


def test_impossible_tokens_are_never_picked():
    logits = torch.full((5000,), -torch.inf)
    logits[7] = -80.0
    for sampling in (Sampling(), Sampling(top_k=50), Sampling(top_p=0.5)):
        assert set(draw(sampling, 50, logits=logits).tolist()) == {7}


def test_seeds():
    wide = torch.zeros(1000)
    assert torch.equal(draw(Sampling(), 20, seed=1, logits=wide), draw(Sampling(), 20, seed=1, logits=wide))
    assert not torch.equal(
        draw(Sampling(), 20, seed=1, logits=wide), draw(Sampling(), 20, seed=2, logits=wide)
    )


def test_guidance_on_logits_is_guidance_on_log_softmax():
    rows = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    conditional, unconditional = rows.log_softmax(1)
    expected = (unconditional + 3 * (conditional - unconditional)).softmax(0)
    assert torch.allclose(guide(rows, 3.0).softmax(0), expected, atol=1e-6)


def test_wrong_settings_are_refused():
    for wrong in ({"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}):
        with pytest.raises(ValueError, match="expected temperature"):
            Sampling(**wrong)
