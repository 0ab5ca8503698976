"""Put an object into a closed cabinet.

Task: open a cabinet, whose lid swings aside, and put a named object in it; then close it, or leave it open.
Randomisation: the cabinet's colour, place, direction and number of slots; the object, 1-2 distractors
of which one may stand on the object; poses, sizes, colours, light, table and cameras.
Success: the object inside the walls and resting on the floor; the cabinet closed (at most 6% of its way
open) or open (at least 94%), as asked; the gripper empty and off, everything at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    where = layout.opening("cabinet", colours[0], 1 + int(rng.integers(2)))
    item = layout.item("block" if rng.random() < 0.6 else "cylinder", colours[1])
    distractors = int(rng.integers(1, 3))
    if item.kind == "block" and rng.random() < 0.2:
        layout.item_on(layout.kind(), colours[2], item)
        distractors -= 1
    layout.distractors(distractors, colours[3:])
    layout.insist_on_reach()
    form = "cabinet_put closed" if rng.random() < 0.7 else "cabinet_put open"
    return form, {"a": item.name, "r": where.name}
