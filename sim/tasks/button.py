"""Press a button before or after something else.

Task: press the button so that its lamp is lit, before or after a named object is put in a tray, box or
zone, as the instruction says.
Randomisation: the order, colours, kinds and places of button, container and object, 1-2 distractors;
sizes, light, table and cameras. Pressing again turns the lamp off.
Success: the lamp is lit and the object in the container, resting on its floor; and at the end of some
skill before, only the first of the two was so (before: the object stood on the table); the gripper
empty and off, everything at rest.
"""

from sim.layout import Layout


def draw(layout: Layout) -> tuple[str, dict[str, str]]:
    """Draw the objects; returns the instruction's form and its slots."""
    rng = layout.rng
    colours = layout.colours(7)
    where = layout.receptacle(str(rng.choice(["tray", "box", "zone"])), colours[0], 2)
    button = layout.button(colours[1])
    item = layout.item(layout.kind(), colours[2])
    layout.distractors(int(rng.integers(1, 3)), colours[3:])
    form = "button first" if rng.random() < 0.5 else "button last"
    return form, {"a": item.name, "r": where.name, "k": button.name}
