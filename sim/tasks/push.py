"""Push a crate that is too wide to grasp.

Task: push the crate to a named zone; another zone is there too.
Randomisation: colours and places of zones and crate, 1-2 distractors beside the way; sizes, light,
table and cameras.
Success: the crate stands on the table with its centre inside the zone, the gripper empty and off,
everything at rest.
"""

from sim import push_ways
from sim.layout import X_RANGE, Y_RANGE, Layout, NoRoomError

_FROM_ZONE = 0.05  # m at least from the crate's centre to any zone at first


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(6)
    zones = [layout.receptacle("zone", colour, 2) for colour in colours[:2]]
    x, y = float(rng.uniform(*X_RANGE)), float(rng.uniform(*Y_RANGE))
    if any(zone.outside(x, y) < _FROM_ZONE for zone in zones):
        raise NoRoomError
    crate = layout.crate(colours[2], x, y, float(rng.uniform(-0.5, 0.5)))
    layout.distractors(int(rng.integers(1, 3)), colours[3:])
    if not push_ways.legs(layout.sketch(), layout.poses(), crate, zones[0]):
        raise NoRoomError
    return "push", {"a": crate.name, "r": zones[0].name}
