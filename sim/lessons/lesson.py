"""What a lesson is: words and pictures in their order, and what each picture truly shows.

A lesson is one example of a task of the model that is not a robot's plan: a question, perhaps with
reference pictures, and the answer. Frozen nouns; knows no task and no physics beyond a world's state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.camera import View, render
from sim.scene import Scene
from sim.state import SymbolicState
from sim.world import World

Picture = NDArray[np.uint8]

# Kinds of parts: words of the answer, the thought before all of it, the thought before a picture, a
# picture
WORDS, THOUGHT, IMAGE_THOUGHT, PICTURE = "words", "thought", "image_thought", "picture"
KINDS = (WORDS, THOUGHT, IMAGE_THOUGHT, PICTURE)


@dataclass(frozen=True)
class Part:
    """One part of an answer. A picture has no text: pictures come in their order."""

    kind: str
    text: str = ""


@dataclass(frozen=True)
class Thing:
    """One object of a picture."""

    name: str
    kind: str
    colour: str
    # m, as scene.Item; of a receptacle 0
    size: float
    # centre, world frame, m; of a receptacle z is 0
    position: tuple[float, float, float]
    # turn about the vertical, rad
    yaw: float


@dataclass(frozen=True)
class Truth:
    """What a picture shows: where everything is, in symbols and in metres, and from where it is seen."""

    state: SymbolicState
    things: tuple[Thing, ...]
    views: tuple[View, ...]


@dataclass(frozen=True)
class Lesson:
    """Everything follows from (task, seed)."""

    task: str
    seed: int
    robot: str
    instruction: str
    # how many of the pictures, the first ones, stand in the question
    references: int
    parts: tuple[Part, ...]
    # [192, 384, 3] uint8 each: two views side by side
    pictures: tuple[Picture, ...]
    truths: tuple[Truth, ...]
    # what the words ask for, as JSON data, for whoever grades: see each task
    asked: Mapping[str, Any]
    # what was built for the pictures: the scene at first, of an edit also the others. Not written to disk
    scenes: tuple[Scene, ...]

    def __post_init__(self) -> None:
        shown = sum(part.kind == PICTURE for part in self.parts)
        counts = {len(self.pictures), len(self.truths), self.references + shown}
        if len(counts) > 1:
            raise ValueError(
                f"{len(self.pictures)} pictures, {len(self.truths)} truths, {self.references} references "
                f"and {shown} pictures in the answer"
            )

    @property
    def answer(self) -> tuple[Picture, ...]:
        """The pictures of the answer."""
        return self.pictures[self.references :]


def shown(world: World, views: tuple[View, ...] | None = None) -> tuple[Picture, Truth]:
    """The world's picture now, from its own cameras or others, and what it shows."""
    look = world.scene.look
    views = views or look.views
    frames = [render(world.bullet, view, look, world.time_s).rgb for view in views]
    things = []
    for item in world.scene.items:
        pose = world.pose(item.name)
        things.append(Thing(item.name, item.kind, item.colour, item.size, pose.position, pose.yaw))
    for r in world.scene.receptacles:
        things.append(Thing(r.name, r.kind, r.colour, 0.0, (r.x, r.y, 0.0), r.yaw))
    return np.concatenate(frames, axis=1), Truth(world.state(), tuple(things), views)
