"""What is recorded depends on values of tensors alone: replayed, it has the plain decoder's tokens."""

import copy
import random
from dataclasses import replace

import pytest
import torch

from emu_planner.engine import kept
from emu_planner.engine.branches import Branches
from emu_planner.engine.graphs import DeviceConfig, DeviceDecoder
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.raster import generate
from emu_planner.engine.sampler import Sampling
from tests.engine.alike import check_alike, plan_of
from tests.engine.conftest import CONFIG
from tests.engine.replays import Replay, ReplayRecordings
from tests.engine.shared import VOCABULARY, random_ask, random_model, told
from tests.engine.test_graphs import masked

HOT = replace(CONFIG, guidance_scale=2.0, image=Sampling(temperature=3.0))
KINDS = pytest.mark.parametrize(
    ("fused", "attention"), [(False, None), (True, masked)], ids=["as on a CPU", "as on a GPU"]
)


@pytest.fixture(autouse=True)
def _replayed(monkeypatch):
    monkeypatch.setattr(kept, "Recordings", ReplayRecordings)


def test_a_replay_follows_tensors_and_not_the_host():
    numbers, tensor, total = [1], torch.ones(2), torch.zeros(2)
    replay = Replay(lambda: total.add_(tensor * 2 + numbers[0]), [total])
    assert total.tolist() == [0, 0]
    numbers[0] = 100
    tensor.fill_(5)
    replay.replay()
    assert total.tolist() == [11, 11]


@KINDS
@pytest.mark.parametrize("most", [1, 16])
def test_answer_after_answer_has_the_plain_decoders_tokens(fused, attention, most):
    model, rng = random_model(torch.float64), random.Random(most)
    plain = copy.deepcopy(model)
    decoder = DeviceDecoder(model, DeviceConfig(fused=fused, recordings=most), attend=attention)
    for ask in [random_ask(rng) for _ in range(16)]:
        found = told(
            decoder.generate(decoder.branches(**ask.rows), *ask.arguments(), boi=VOCABULARY.boi), ask
        )
        made = generate(Branches(plain, **ask.rows), *ask.arguments(), boi=VOCABULARY.boi)
        assert found == told(made, ask)
    assert len(decoder._memory._workshop.recordings._known) <= most


@KINDS
def test_plan_after_plan_is_the_plain_one(parts, frames, fused, attention):
    model = copy.deepcopy(parts[0])
    recorded, plain = EmuPlanner(model, *parts[1:], HOT), EmuPlanner(*parts, HOT)
    beside = EmuPlanner(model, *parts[1:], HOT)  # plain, with the weights that the other one moved
    recorded._decoder = DeviceDecoder(model, DeviceConfig(fused=fused), attend=attention)
    for seed in range(3):
        for asked in ({}, {"guidance_scale": 1.0}, {"max_subgoals": 1}, {"temperature": 0.0}):
            expected = plan_of(plain, frames, seed, **asked)
            check_alike(plan_of(recorded, frames, seed, **asked), expected, (seed, asked))
            check_alike(plan_of(beside, frames, seed, **asked), expected, (seed, asked, "beside"))
