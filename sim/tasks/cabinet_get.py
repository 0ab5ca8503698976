"""Take an object out of a closed cabinet: at first it is not to be seen.

Task: open a cabinet, take the named object out, put it in a tray or on the table, and close the cabinet.
Randomisation: colour, place, direction and slots of the cabinet, the tray, 1-2 objects inside, 0-2 beside;
sizes, light, table and cameras.
Success: the object rests on the table, or inside the tray's walls on its floor; the cabinet closed (at
most 6% of its way open); the gripper empty and off, everything at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    slots = 1 + int(rng.integers(2))
    where = layout.opening("cabinet", colours[0], slots)
    tray = layout.receptacle("tray", colours[1], 1) if rng.random() < 0.5 else None
    inside = [layout.item_in(layout.kind(), colours[2 + i], where, i) for i in range(slots)]
    item = inside[int(rng.integers(slots))]
    layout.distractors(int(rng.integers(0, 3)), colours[4:])
    if tray is None:
        return "cabinet_get table", {"a": item.name, "r": where.name}
    return "cabinet_get tray", {"a": item.name, "r": where.name, "s": tray.name}
