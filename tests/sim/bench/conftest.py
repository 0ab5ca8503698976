"""One world for all tests of a module, and scenes that need few steps."""

from collections.abc import Iterator

import pytest

from sim.bench.suite import SceneName
from sim.bench.trail import Trail
from sim.scene import BENCHMARK_FIRST_SEED
from sim.world import World

# two steps each, for the oracle
CONTAINER = SceneName("container", BENCHMARK_FIRST_SEED + 3)
STACK = SceneName("stack", BENCHMARK_FIRST_SEED + 4)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def trail(world: World) -> Iterator[Trail]:
    with Trail(world, CONTAINER) as trail:
        yield trail
