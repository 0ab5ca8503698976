"""Let two objects change places.

Task: swap two named objects that lie in two containers with room for one, or stand on two blocks; one
has to wait on the table.
Randomisation: trays, boxes or zones of one slot, or blocks as bases; kinds, colours, sizes, places;
0-2 distractors; light, table and cameras.
Success: each of the two rests where the other one was (in that container, or on that block), the
gripper empty and off, everything at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    if rng.random() < 0.3:
        bases = [layout.item("block", colour) for colour in colours[:2]]
        items = [
            layout.item_on(layout.kind(), colour, base)
            for colour, base in zip(colours[2:4], bases, strict=True)
        ]
    else:
        kind = str(rng.choice(["tray", "box", "zone"]))
        places = [layout.receptacle(kind, colour, 1) for colour in colours[:2]]
        items = [
            layout.item_in(layout.kind(), colour, place, 0)
            for colour, place in zip(colours[2:4], places, strict=True)
        ]
    layout.distractors(int(rng.integers(0, 3)), colours[4:])
    return "swap", {"a": items[0].name, "b": items[1].name}
