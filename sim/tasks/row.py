"""Line three objects up from left to right.

Task: make a row of three named objects; the leftmost one stays where it is.
Randomisation: kinds, colours, poses, sizes, 0-2 distractors, light, table and cameras.
Success: all three stand on the table, the second right of the first and the third right of the second
(see sim/relations.py: 55 to 135 mm to that side, at most 30 mm off the line), the gripper empty and
off, everything at rest.
"""

from sim import relations
from sim.layout import Layout, NoRoomError
from sim.scene import TABLE, Fact


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    layout.relations = ("left_of", "right_of")
    colours = layout.colours(6)
    a, b, c = (layout.item(layout.kind(), colour).name for colour in colours[:3])
    layout.distractors(int(layout.rng.integers(0, 3)), colours[3:])
    scene, poses = layout.sketch(), layout.poses()
    standing = [Fact(item.name, "on", TABLE) for item in scene.items]
    if Fact(b, "right_of", a) in relations.read(scene, standing, poses):
        raise NoRoomError
    spot = relations.free_spot(scene, poses, b, "right_of", a)
    if spot is None or relations.free_spot(scene, poses | {b: spot}, c, "right_of", b) is None:
        raise NoRoomError
    return "row", {"a": a, "b": b, "c": c}
