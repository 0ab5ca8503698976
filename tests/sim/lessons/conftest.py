"""One world for all tests of this folder, and each lesson made once."""

from collections.abc import Callable, Iterator

import pytest

from sim import lessons
from sim.lessons.lesson import Lesson
from sim.world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A world that every test may rebuild."""
    with World() as world:
        yield world


@pytest.fixture(scope="session")
def lesson(world: World) -> Callable[[str, int], Lesson]:
    """The lesson of a task and a seed."""
    made: dict[tuple[str, int], Lesson] = {}

    def get(task: str, seed: int) -> Lesson:
        if (task, seed) not in made:
            made[task, seed] = lessons.make(world, task, seed)
        return made[task, seed]

    return get
