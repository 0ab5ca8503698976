"""Make room by pushing, then place.

Task: push the crate from one zone to the other, and put a named object in the zone that it left.
Randomisation: colours and places of zones and object, the crate's place in its zone and its turn, 0-1
distractors; sizes, light, table and cameras.
Success: the crate stands on the table with its centre inside the one zone, the object with its centre
inside the other, the gripper empty and off, everything at rest.
"""

from sim import push_ways
from sim.layout import Layout, NoRoomError


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(6)
    free, taken = (layout.receptacle("zone", colour, 2) for colour in colours[:2])
    x, y = taken.x + float(rng.uniform(-0.02, 0.02)), taken.y + float(rng.uniform(-0.02, 0.02))
    crate = layout.crate(colours[2], x, y, float(rng.uniform(-0.4, 0.4)))
    item = layout.item(layout.kind(), colours[3])
    layout.distractors(int(rng.integers(0, 2)), colours[4:])
    if not push_ways.legs(layout.sketch(), layout.poses(), crate, free):
        raise NoRoomError
    return "push_place", {"a": crate.name, "b": item.name, "r": free.name, "s": taken.name}
