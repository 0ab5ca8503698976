"""Take everything out of a container.

Task: empty a tray, box or bowl onto the table, or into another container.
Randomisation: kinds, colours and places of the containers; 1-3 objects inside, 0-2 beside; sizes,
light, table and cameras.
Success: nothing lies in the container; onto the table, all objects are at rest; into another, each
object that was inside rests on the other's floor. The gripper empty and off, everything at rest.
"""

from sim.layout import Layout

_SLOTS = {"tray": 3, "box": 3, "bowl": 2}


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    kind = str(rng.choice(list(_SLOTS)))
    colours = layout.colours(7)
    where = layout.receptacle(kind, colours[0], _SLOTS[kind])
    into = layout.receptacle("tray", colours[1], 3) if rng.random() < 0.5 else None
    count = int(rng.integers(1, _SLOTS[kind] + 1))
    for slot in range(count):
        layout.item_in(layout.kind(), colours[2 + slot], where, slot)
    layout.distractors(int(rng.integers(0, 3 if into is None else 2)), colours[2 + count :])
    if into is None:
        return "empty out", {"r": where.name}
    return "empty into", {"r": where.name, "s": into.name}
