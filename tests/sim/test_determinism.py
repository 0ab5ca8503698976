"""The same seed gives the same bits in every process, whatever was simulated before."""

import subprocess
import sys

import pytest

from sim import robots

SCRIPT = """
import hashlib, sys
from sim.episode import record
from sim.world import World
digest = hashlib.sha256()
with World() as world:
    # a warm-up with another robot, which must leave no trace
    record(world, "zone", int(sys.argv[1]), sys.argv[2])
    for family, seed in [("sort", 5), ("container", 6), ("stack", 7)]:
        episode = record(world, family, seed, sys.argv[3])
        for picture in episode.pictures:
            digest.update(picture.tobytes())
        for item in episode.scene.items:
            digest.update(repr(world.pose(item.name)).encode())
        digest.update(repr(episode.states).encode() + repr(episode.steps).encode())
print(digest.hexdigest())
"""


def _digest(warm_up_seed: int, warm_up_robot: str, robot: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(warm_up_seed), warm_up_robot, robot],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.split()[-1]


@pytest.mark.parametrize("robot", list(robots.ROBOTS))
def test_two_processes_agree_bit_for_bit(robot: str) -> None:
    first = _digest(3, "panda", robot)
    assert len(first) == 64
    assert first == _digest(4, "kuka", robot)
