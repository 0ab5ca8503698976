"""Drawing the tables that lessons show, and putting one more thing where a relation wants it.

Knows scenes; no words and no task.
"""

import math
from dataclasses import replace

import numpy as np

from sim import robots
from sim.camera import Look
from sim.layout import Layout, NoRoomError
from sim.lessons.silhouettes import SLOTS
from sim.relations import DIRECTIONS, walls_apart
from sim.scene import FLOOR, Goal, Item, Receptacle, Scene

# What relations of a lesson ask for: a little inside what sim/relations.py takes for true, m
_ALONG, _ACROSS = (0.070, 0.120), 0.020
_GAP = 0.082  # m between the centres of two things that nothing puts together
_WALL = 0.052
_X, _Y = (0.355, 0.670), (-0.235, 0.235)
_SLOT_TAKEN = 0.052  # m, as in sim/state.py
_TRIES = 24
_SIZES = (0.046, 0.048, 0.050)


def draw_items(layout: Layout, count: int, colours: list[str]) -> None:
    """So many items on the table, each of its own colour."""
    for colour in colours[:count]:
        layout.item(layout.kind(), colour)


def draw_container(layout: Layout, colour: str, kinds: tuple[str, ...] = tuple(SLOTS)) -> Receptacle:
    """A tray, box, bowl or zone."""
    kind = str(layout.rng.choice(kinds))
    return layout.receptacle(kind, colour, SLOTS[kind])


def scene_of(layout: Layout, look: Look, task: str, seed: int, relations: tuple[str, ...] = ()) -> Scene:
    """What was drawn, as a scene that asks for nothing."""
    return Scene(
        task, seed, robots.DEFAULT, tuple(layout.items), tuple(layout.receptacles), look, Goal(()), "",
        (), relations,
    )  # fmt: skip


def new_item(kind: str, colour: str, rng: np.random.Generator) -> Item:
    """An item that stands nowhere yet."""
    size = float(rng.choice(_SIZES))
    return Item(f"{colour} {kind}", kind, colour, size, 0.0, 0.0, size / 2, float(rng.uniform(-0.78, 0.78)))


def put(scene: Scene, item: Item, relation: str, target: str, rng: np.random.Generator) -> Item:
    """The item, moved to where the relation to the target holds; others stay.

    Raises:
        NoRoomError: there is no room, or nothing can stand so.
    """
    others = [other for other in scene.items if other.name != item.name]
    if relation in DIRECTIONS:
        return _beside(scene, item, relation, scene.item(target), others, rng)
    if relation == "in":
        return _inside(scene, item, target, others)
    below = scene.item(target)
    if below.kind != "block" or any(_stands_on(other, below) for other in others):
        raise NoRoomError
    z = below.z + below.size / 2 + item.size / 2
    return replace(item, x=below.x, y=below.y, z=z, yaw=below.yaw)


def anywhere(scene: Scene, item: Item, rng: np.random.Generator) -> Item:
    """The item, moved to a free place of the table. NoRoomError: there is none."""
    others = [other for other in scene.items if other.name != item.name]
    for _ in range(_TRIES):
        x, y = float(rng.uniform(*_X)), float(rng.uniform(*_Y))
        if _free(scene, x, y, others):
            return replace(item, x=x, y=y, z=item.size / 2)
    raise NoRoomError


def without(scene: Scene, name: str) -> Scene:
    """The scene without one item."""
    return replace(scene, items=tuple(item for item in scene.items if item.name != name))


def with_item(scene: Scene, item: Item, name: str = "") -> Scene:
    """The scene with an item in the place of one of that name, or at the end."""
    if not name:
        return replace(scene, items=(*scene.items, item))
    return replace(scene, items=tuple(item if other.name == name else other for other in scene.items))


def _beside(
    scene: Scene, item: Item, relation: str, target: Item, others: list[Item], rng: np.random.Generator
) -> Item:
    dx, dy = DIRECTIONS[relation]
    if target.z > target.size / 2 + FLOOR:  # relations are of what stands on the table
        raise NoRoomError
    for _ in range(_TRIES):
        along, across = float(rng.uniform(*_ALONG)), float(rng.uniform(-_ACROSS, _ACROSS))
        x, y = target.x + along * dx - across * dy, target.y + along * dy + across * dx
        rest = [other for other in others if other.name != target.name]
        if _free(scene, x, y, rest):
            return replace(item, x=x, y=y, z=item.size / 2)
    raise NoRoomError


def _inside(scene: Scene, item: Item, target: str, others: list[Item]) -> Item:
    where = scene.receptacle(target)
    assert where is not None
    for index in range(where.slots):
        x, y = where.slot(index)
        if all(math.hypot(x - o.x, y - o.y) >= _SLOT_TAKEN for o in others):
            return replace(item, x=x, y=y, z=where.floor + item.size / 2, yaw=where.yaw)
    raise NoRoomError


def _free(scene: Scene, x: float, y: float, others: list[Item]) -> bool:
    inside = _X[0] <= x <= _X[1] and _Y[0] <= y <= _Y[1]
    apart = all(math.hypot(x - o.x, y - o.y) >= _GAP for o in others)
    return inside and apart and walls_apart(scene, x, y, _WALL)


def _stands_on(item: Item, below: Item) -> bool:
    return math.hypot(item.x - below.x, item.y - below.y) < below.size / 2 and item.z > below.z + 0.01
