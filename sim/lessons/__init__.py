"""Exact lessons for the tasks besides plans: a file a task, one registry.

A task draws a lesson with everything that is true of it. `make` gives the same lesson for the same task
and seed in every process.
"""

from collections.abc import Callable

import numpy as np

from sim.layout import NoRoomError
from sim.lessons import explore, howto, story, t2i, x2i
from sim.lessons.lesson import Lesson
from sim.tasks import generator
from sim.world import World

Draw = Callable[[World, np.random.Generator, int], Lesson]

TASKS: dict[str, Draw] = {module.TASK: module.draw for module in (t2i, x2i, howto, story, explore)}


def chosen(word: str) -> tuple[str, ...]:
    """The tasks that a command's word asks for: "all", or names with commas.

    Raises:
        ValueError: no such task.
    """
    names = tuple(TASKS) if word == "all" else tuple(dict.fromkeys(word.split(",")))
    if unknown := [name for name in names if name not in TASKS]:
        raise ValueError(f"unknown task {unknown[0]!r}; expected all or names of {', '.join(TASKS)}")
    return names


def task_of(seed: int, tasks: tuple[str, ...]) -> str:
    """Which of these tasks a seed draws: they take turns."""
    return tasks[seed % len(tasks)]


def make(world: World, task: str, seed: int) -> Lesson:
    """The lesson of a task and a seed.

    Raises:
        ValueError: unknown task, or a negative seed.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; expected one of {list(TASKS)}")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; expected 0 or more")
    rng = generator(f"lesson {task}", seed)
    while True:
        try:
            return TASKS[task](world, rng, seed)
        except NoRoomError:
            continue
