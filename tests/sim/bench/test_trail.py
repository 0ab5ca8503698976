"""The states of one scene are the same bits, whoever asked for what before."""

import pytest

from sim.bench.suite import SceneName
from sim.bench.trail import Trail
from sim.scene import BENCHMARK_FIRST_SEED
from sim.world import World


def _joints(world: World, body: int) -> list[tuple[float, float]]:
    numbers = range(world.bullet.getNumJoints(body))
    return [world.bullet.getJointState(body, joint)[:2] for joint in numbers]


def _bits(world: World) -> list[object]:
    """Where everything is and how fast it moves, to the last bit."""
    items = [world.bodies[item.name] for item in world.scene.items]
    free = [
        (world.bullet.getBasePositionAndOrientation(body), world.bullet.getBaseVelocity(body))
        for body in items
    ]
    moving = [world.robot.body, *(world.bodies[name] for name in world.scene.parts)]
    return [free, [_joints(world, body) for body in moving], world.steps, world.stage]


# in each of these the first pick ended elsewhere in its last bits once pictures had been rendered
@pytest.mark.parametrize("family", ["drawer_put", "button"])
def test_what_was_rendered_before_leaves_no_trace(world: World, family: str) -> None:
    ends = []
    for look in (False, True):
        with Trail(world, SceneName(family, BENCHMARK_FIRST_SEED)) as trail:
            if look:
                trail.library(())
            pick = next(skill for skill in trail.at(()).legal if skill.verb == "pick")
            assert trail.at((pick,)).ok
            trail.go((pick,))
            ends.append(_bits(world))
    assert ends[0] == ends[1]
