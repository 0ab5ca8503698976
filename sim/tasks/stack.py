"""Stack named blocks.

Task: stack one named block on another, or build a tower of three in a given order.
Randomisation: 2 or 3 named blocks, 1-3 distractors (blocks or cylinders) of other colours, all
poses, sizes, colours, light, table and cameras; in one scene of six a distractor stands on a named
block and has to be put on the table first.
Success: the lowest block on the table, each other one resting on the one below it and touching it,
the gripper empty and off, everything at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    count = int(rng.integers(2, 4))
    colours = layout.colours(7)
    blocks = [layout.item("block", colour) for colour in colours[:count]]
    distractors = int(rng.integers(1, 4))
    if rng.random() < 1 / 6:
        layout.item_on(layout.kind(), colours[count], blocks[int(rng.integers(count))])
        distractors -= 1
    layout.distractors(distractors, colours[count + 1 :])
    order = [blocks[int(i)].name for i in rng.permutation(count)]
    if count == 2:
        return "stack two", {"a": order[0], "b": order[1]}
    return "stack three", {"a": order[0], "b": order[1], "c": order[2]}
