"""Stack blocks in the order of their sizes.

Task: build one tower of all three blocks, the largest or the smallest at the bottom.
Randomisation: colours; which block has which of three sizes, which differ by 8 mm; which end is up;
0-2 cylinders that are not to be touched; poses, light, table and cameras.
Success: the first block in the order on the table, each other one resting on the one before it and
touching it, the gripper empty and off, everything at rest.
"""

from sim.layout import Layout

_SIZES = (0.036, 0.044, 0.052)  # m


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(5)
    for index, colour in zip(rng.permutation(3), colours, strict=False):
        layout.item("block", colour, _SIZES[int(index)])
    for colour in colours[3 : 3 + int(rng.integers(0, 3))]:
        layout.item("cylinder", colour)
    return ("order largest" if rng.random() < 0.5 else "order smallest"), {}
