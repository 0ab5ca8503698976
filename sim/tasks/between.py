"""Put an object between two others.

Task: put a named object halfway between two others that stand 0.18 to 0.30 m apart.
Randomisation: kinds, colours, poses, sizes, 0-2 distractors, light, table and cameras.
Success: all three stand on the table, the object 0.3 to 0.7 of the way from one to the other and at
most 25 mm off the line, the gripper empty and off, everything at rest.
"""

import math

from sim import relations
from sim.layout import Layout, NoRoomError
from sim.scene import TABLE, Fact, pair

_APART = (0.18, 0.30)  # m


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    layout.relations = ("between",)
    colours = layout.colours(6)
    b, c, a = (layout.item(layout.kind(), colour) for colour in colours[:3])
    layout.distractors(int(layout.rng.integers(0, 3)), colours[3:])
    if not _APART[0] <= math.hypot(b.x - c.x, b.y - c.y) <= _APART[1]:
        raise NoRoomError
    scene, poses = layout.sketch(), layout.poses()
    standing = [Fact(item.name, "on", TABLE) for item in scene.items]
    done = Fact(a.name, "between", pair(b.name, c.name)) in relations.read(scene, standing, poses)
    if done or relations.free_spot(scene, poses, a.name, "between", pair(b.name, c.name)) is None:
        raise NoRoomError
    return "between", {"a": a.name, "b": b.name, "c": c.name}
