"""tools/measure_reading.py: a second reader beside the benchmark's, on pictures whose state is known."""

import pytest

pytest.importorskip("pybullet")

from emu_planner.plan import Keyframe, Step
from sim.bench.evaluate import oracle_steps
from sim.bench.suite import SceneName
from sim.bench.trail import Trail
from sim.camera import VIEWS
from sim.scene import BENCHMARK_FIRST_SEED
from sim.world import World
from tools.measure_reading import READ_AS, reads, verdict

SCENE = SceneName("container", BENCHMARK_FIRST_SEED + 3)


def test_a_thing_is_there_elsewhere_or_not_found():
    assert verdict((0.5, 0.1, 0.02), (0.5, 0.12, 0.02)) == "there"
    assert verdict((0.5, 0.1, 0.02), (0.5, 0.15, 0.02)) == "elsewhere"
    assert verdict(None, (0.5, 0.1, 0.02)) == "not found"


def test_both_readers_agree_on_true_pictures_and_on_pictures_of_the_step_before():
    with World() as world:
        true = list(oracle_steps(world, SCENE))
        with Trail(world, SCENE) as trail:
            (lifted,) = reads(trail, true[:1])
            assert lifted.as_what == READ_AS[0]
            assert lifted.moved == {"there": 1}
            assert set(lifted.others) == {"there"}
            assert lifted.before == {"elsewhere": 1}
            # read as nothing that its words call: another state, in which nothing moved
            still = Step(0, true[0].subgoal, Keyframe(trail.at(()).picture, VIEWS))
            (stayed,) = reads(trail, [still])
            assert stayed.as_what == READ_AS[1]
            assert not stayed.moved
            assert set(stayed.others) == {"there"}
