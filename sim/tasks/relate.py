"""Put an object beside another, on a named side.

Task: put a named object to the left of, to the right of, in front of or behind another, as the front
camera sees it.
Randomisation: the side, both objects, 1-3 distractors; poses, sizes, colours, light, table, cameras.
Success: both stand on the table, and the relation of sim/relations.py holds (55 to 135 mm to that
side, at most 30 mm off the line), the gripper empty and off, everything at rest.
"""

from sim import relations
from sim.layout import Layout, NoRoomError
from sim.scene import TABLE, Fact

_FORMS = {"left_of": "left", "right_of": "right", "in_front_of": "front", "behind": "behind"}


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    layout.relations = tuple(relations.DIRECTIONS)
    colours = layout.colours(7)
    b, a = (layout.item(layout.kind(), colour).name for colour in colours[:2])
    layout.distractors(int(rng.integers(1, 4)), colours[2:])
    relation = str(rng.choice(list(_FORMS)))
    scene, poses = layout.sketch(), layout.poses()
    standing = [Fact(item.name, "on", TABLE) for item in scene.items]
    done = Fact(a, relation, b) in relations.read(scene, standing, poses)
    if done or relations.free_spot(scene, poses, a, relation, b) is None:
        raise NoRoomError
    return f"relate {_FORMS[relation]}", {"a": a, "b": b}
