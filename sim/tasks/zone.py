"""Move named objects to coloured zones.

Task: move one or two named objects to zones painted on the table: two objects go to the same zone
or to one each.
Randomisation: 2 zones (colours, places, turns), the objects, 1-3 distractors; poses, sizes,
colours, light, table and cameras.
Success: each named object stands on the table with its centre inside its zone, the gripper empty
and off, everything at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    zones = [layout.receptacle("zone", colour, 2).name for colour in colours[:2]]
    kinds = [layout.kind() for _ in range(2)]
    count = int(rng.integers(1, 3))
    named = list(zip(kinds, colours[1:3], strict=True))[:count]
    names = [layout.item(*pair).name for pair in named]
    layout.distractors(int(rng.integers(1, 4)), [colours[0], *colours[3:]])
    if count == 1:
        return "zone one", {"a": names[0], "r": zones[0]}
    if rng.random() < 0.5:
        return "zone both", {"a": names[0], "b": names[1], "r": zones[0]}
    return "zone two", {"a": names[0], "b": names[1], "r": zones[0], "s": zones[1]}
