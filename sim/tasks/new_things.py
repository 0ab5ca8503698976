"""What belongs together in no training scene.

Task: one of six, as the seed says: a cylinder on top of a tower; blocks and cylinders into boxes, not
trays; two objects swapped between a tray and a box; a container emptied into a box; an object out of a
drawer into a box; a cylinder across two blocks. Training has only blocks in towers and pyramids, sorts
into trays, swaps between two places of one kind, and empties and fetches into trays.
Randomisation: as in stack, kinds, swap, empty, drawer_get and pyramid.
Success: as there, with the other things.
"""

from collections.abc import Callable

from sim import relations
from sim.layout import KINDS, Layout, NoRoomError

Asked = tuple[str, dict[str, str]]


def _cylinder_on_top(layout: Layout) -> Asked:
    rng = layout.rng
    colours = layout.colours(6)
    count = int(rng.integers(1, 3))
    blocks = [layout.item("block", colour).name for colour in colours[:count]]
    top = layout.item("cylinder", colours[2]).name
    layout.distractors(int(rng.integers(1, 3)), colours[3:])
    form = "stack two" if count == 1 else "stack three"
    return form, dict(zip("abc", [top, *blocks], strict=False))


def _kinds_into_boxes(layout: Layout) -> Asked:
    rng = layout.rng
    colours = layout.colours(6)
    boxes = [layout.receptacle("box", colour, 2).name for colour in colours[:2]]
    chosen = [kind for kind in KINDS for _ in range(int(rng.integers(1, 3)))]
    for kind, colour in zip(chosen, colours[2:], strict=False):
        layout.item(kind, colour)
    return "kinds", {"r": boxes[0], "s": boxes[1]}


def _swap_tray_and_box(layout: Layout) -> Asked:
    colours = layout.colours(6)
    places = [layout.receptacle(kind, c, 1) for kind, c in zip(("tray", "box"), colours, strict=False)]
    a, b = (layout.item_in(layout.kind(), c, r, 0).name for c, r in zip(colours[2:4], places, strict=True))
    layout.distractors(int(layout.rng.integers(0, 3)), colours[4:])
    return "swap", {"a": a, "b": b}


def _empty_into_box(layout: Layout) -> Asked:
    rng = layout.rng
    colours = layout.colours(6)
    where = layout.receptacle(str(rng.choice(["tray", "bowl"])), colours[0], 2)
    into = layout.receptacle("box", colours[1], 3)
    for slot in range(int(rng.integers(1, 3))):
        layout.item_in(layout.kind(), colours[2 + slot], where, slot)
    layout.distractors(int(rng.integers(0, 2)), colours[4:])
    return "empty into", {"r": where.name, "s": into.name}


def _drawer_into_box(layout: Layout) -> Asked:
    colours = layout.colours(6)
    where = layout.opening("drawer", colours[0], 1)
    into = layout.receptacle("box", colours[1], 1)
    item = layout.item_in(layout.kind(), colours[2], where, 0)
    layout.distractors(int(layout.rng.integers(0, 2)), colours[3:])
    return "drawer_get tray", {"a": item.name, "r": where.name, "s": into.name}


def _cylinder_across(layout: Layout) -> Asked:
    layout.relations = ("beside", "across")
    colours = layout.colours(6)
    a, b = (layout.item("block", colour, 0.048).name for colour in colours[:2])
    c = layout.item("cylinder", colours[2]).name
    layout.distractors(int(layout.rng.integers(0, 3)), colours[3:])
    if relations.free_spot(layout.sketch(), layout.poses(), b, "beside", a) is None:
        raise NoRoomError
    return "pyramid", {"a": a, "b": b, "c": c}


# with the family that has the same task with other things
KINDS_OF: tuple[tuple[str, Callable[[Layout], Asked]], ...] = (
    ("stack", _cylinder_on_top),
    ("kinds", _kinds_into_boxes),
    ("swap", _swap_tray_and_box),
    ("empty", _empty_into_box),
    ("drawer_get", _drawer_into_box),
    ("pyramid", _cylinder_across),
)
