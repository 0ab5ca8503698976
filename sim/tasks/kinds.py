"""Sort objects by shape into two trays.

Task: put all blocks in one tray and all cylinders in the other; which is which is said in words.
Randomisation: colours of trays and objects, 1-2 blocks and 1-2 cylinders; in one scene of five one
object lies in the wrong tray from the start; places, sizes, light, table and cameras.
Success: each object inside the walls of its shape's tray and resting on its floor, nothing else in a
tray, the gripper empty and off, everything at rest.
"""

from sim.layout import KINDS, Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    trays = [layout.receptacle("tray", colour, 2) for colour in colours[:2]]
    chosen = [kind for kind in KINDS for _ in range(int(rng.integers(1, 3)))]
    named = list(zip(chosen, colours[2:], strict=False))
    if rng.random() < 0.2:
        layout.item_in(*named.pop(0), trays[1], 0)
    for index in rng.permutation(len(named)):
        layout.item(*named[int(index)])
    return "kinds", {"r": trays[0].name, "s": trays[1].name}
