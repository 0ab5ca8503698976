"""Move objects away and put them back where they were: the end looks like the beginning.

Task: put one or two named objects in a tray, then return each to its old place: a container or the
block on which it stood. Which place that was is to be seen in the first picture only.
Randomisation: places, kinds, colours, sizes, 0-1 distractors, a second block that is no old place;
light, table and cameras.
Success: at the end of some skill each named object rested in the tray; now each rests where it was at
first; the gripper empty and off, everything at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    tray = layout.receptacle("tray", colours[0], 2)
    kind = str(rng.choice(["box", "bowl", "zone"]))
    other = layout.receptacle(kind, colours[1], 2 if kind == "bowl" else 1 + int(rng.integers(2)))
    bases = [layout.item("block", colour) for colour in colours[2:4]]
    on = layout.item_on(layout.kind(), colours[4], bases[0]).name
    inside = layout.item_in(layout.kind(), colours[5], other, 0).name
    layout.distractors(int(rng.integers(0, 2)), colours[6:])
    layout.insist_on_reach()
    if rng.random() < 0.4:
        first, second = (on, inside) if rng.random() < 0.5 else (inside, on)
        return "restore two", {"a": first, "b": second, "r": tray.name}
    return "restore one", {"a": on if rng.random() < 0.5 else inside, "r": tray.name}
