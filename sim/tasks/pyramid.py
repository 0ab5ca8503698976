"""Build a pyramid of three blocks.

Task: set two named blocks of one size side by side, and a third on top of both.
Randomisation: colours, poses, the third block's size, 0-2 distractors, light, table and cameras; in
one scene of six a distractor stands on a named block and has to be put on the table first.
Success: the first block on the table, the second beside it (see sim/relations.py: their faces at most
10 mm apart), the third resting on both and touching both with its centre between theirs, the
gripper empty and off, everything at rest.
"""

from sim import relations
from sim.layout import Layout, NoRoomError

_SIZE = 0.048  # m, of the two below


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    layout.relations = ("beside", "across")
    colours = layout.colours(6)
    blocks = [
        layout.item("block", colours[0], _SIZE),
        layout.item("block", colours[1], _SIZE),
        layout.item("block", colours[2]),
    ]
    distractors = int(rng.integers(0, 3))
    if rng.random() < 1 / 6:
        layout.item_on(layout.kind(), colours[3], blocks[int(rng.integers(3))])
        distractors -= 1
    layout.distractors(max(distractors, 0), colours[4:])
    a, b, c = (block.name for block in blocks)
    if relations.free_spot(layout.sketch(), layout.poses(), b, "beside", a) is None:
        raise NoRoomError
    return "pyramid", {"a": a, "b": b, "c": c}
