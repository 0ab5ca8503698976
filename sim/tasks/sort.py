"""Sort objects by colour into two trays.

Task: put every object whose colour is a tray's into that tray; objects of other colours stay out.
Randomisation: the two colours, 2-4 objects of them (each colour at least once), 1-2 distractors of
other colours; in one scene of five one object lies in the wrong tray from the start; places and
turns of trays and objects, sizes, light, table and cameras.
Success: each object of a tray's colour inside the walls of that tray and resting on its floor, no
other object in a tray, the gripper empty and off, everything at rest.
"""

from sim.layout import KINDS, Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    pair = colours[:2]
    trays = [layout.receptacle("tray", colour, 2) for colour in pair]
    first = [(KINDS[int(rng.integers(2))], colour) for colour in pair]
    others = [(kind, colour) for kind in KINDS for colour in pair if (kind, colour) not in first]
    extra = int(rng.integers(0, 3))
    chosen = first + [others[int(i)] for i in rng.permutation(2)[:extra]]
    if rng.random() < 0.2:
        kind, colour = chosen.pop(0)
        layout.item_in(kind, colour, trays[1], 0)
    for index in rng.permutation(len(chosen)):
        layout.item(*chosen[int(index)])
    layout.distractors(int(rng.integers(1, 3)), colours[2:])
    return "sort", {}
