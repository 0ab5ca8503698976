"""Tidy two objects away in a drawer, shut it, and press a button last.

Task: open the drawer, put two named objects in it, close it, press the button: 7 steps, or 9 when
something stands on one of the objects.
Randomisation: place, direction and colours of drawer, button and objects; what stands on what; sizes,
light, table and cameras.
Success: both objects inside the drawer's walls and resting on its floor, the drawer closed, the lamp
lit; and at the end of some skill before, all but the lamp was so; the gripper empty and off, everything
at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    drawer = layout.opening("drawer", colours[0], 2)
    button = layout.button(colours[1])
    a = layout.item("block", colours[2])
    if rng.random() < 0.3:
        b = layout.item_on(layout.kind(), colours[3], a)
    else:
        b = layout.item(layout.kind(), colours[3])
        if rng.random() < 0.4:
            layout.item_on("cylinder", colours[4], a)
    if rng.random() < 0.4:
        layout.distractors(1, colours[5:])
    layout.insist_on_reach()
    first, second = (a, b) if rng.random() < 0.5 else (b, a)
    return "kitchen", {"a": first.name, "b": second.name, "r": drawer.name, "k": button.name}
