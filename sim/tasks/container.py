"""Put named objects into a container.

Task: put one or two named objects (blocks, cylinders) into an open tray, box or bowl.
Randomisation: kind, colour, place and turn of the container, the objects, 1-3 distractors of which
one may lie in the container from the start; poses, sizes, colours, light, table and cameras.
Success: each named object inside the walls and resting on the container's floor, the gripper empty
and off, everything at rest. What else lies in the container does not matter.
"""

from sim.layout import Layout

_SLOTS = {"tray": 3, "box": 3, "bowl": 2}


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    kind = str(rng.choice(list(_SLOTS)))
    count = int(rng.integers(1, 3))
    colours = layout.colours(7)
    where = layout.receptacle(kind, colours[0], _SLOTS[kind])
    names = [layout.item(layout.kind(), colour).name for colour in colours[1 : 1 + count]]
    distractors = int(rng.integers(1, 4))
    if _SLOTS[kind] > count and rng.random() < 0.4:
        layout.item_in(layout.kind(), colours[1 + count], where, 0)
        distractors -= 1
    layout.distractors(distractors, [colours[0], *colours[2 + count :]])
    if count == 1:
        return "container one", {"a": names[0], "r": where.name}
    return "container two", {"a": names[0], "b": names[1], "r": where.name}
