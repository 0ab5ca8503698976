"""Take a tower down.

Task: put every object on the table, or the two named upper objects of a tower of three.
Randomisation: a tower of two blocks with a third object of any kind on top, colours, sizes, poses,
1-2 distractors of which one may stand on another; light, table and cameras.
Success: each object that is asked for stands on the table and touches it, the gripper empty and off,
everything at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(6)
    base = layout.item("block", colours[0])
    middle = layout.item_on("block", colours[1], base)
    top = layout.item_on(layout.kind(), colours[2], middle)
    other = layout.item("block", colours[3])
    if rng.random() < 0.5:
        layout.item_on(layout.kind(), colours[4], other)
    if rng.random() < 0.5:
        return "unstack all", {}
    return "unstack two", {"a": middle.name, "b": top.name}
