"""Several requests in one sentence.

Task: two or three of: stack two or three blocks, put one or two objects in a container, move an object
to a zone; said in the order in which they are to be done.
Randomisation: which requests, their order and words; colours, kinds, places, sizes, 0-1 distractors,
light, table and cameras; in one scene of five a distractor stands on a block that is needed.
Success: everything that any of the requests asks for holds at the end, whatever the order; the gripper
empty and off, everything at rest. 4 to 12 steps.
"""

from sim.layout import Layout

Request = tuple[str, dict[str, str]]


def draw(layout: Layout) -> list[Request]:
    """Draw the objects; returns forms with their slots, in order."""
    rng = layout.rng
    colours = layout.colours(7)
    kinds = [str(kind) for kind in rng.permutation(["stack", "container", "zone"])]
    kinds = kinds[: 2 + int(rng.random() < 0.6)]
    where = {}
    if "container" in kinds:
        kind = str(rng.choice(["tray", "box"]))
        where["container"] = layout.receptacle(kind, str(rng.choice(colours)), 2)
    if "zone" in kinds:
        where["zone"] = layout.receptacle("zone", str(rng.choice(colours)), 1)
    requests = [_request(layout, kind, colours, where[kind].name if kind in where else "") for kind in kinds]
    blocks = [item for item in layout.items if item.kind == "block"]
    if colours and blocks and rng.random() < 0.2:
        layout.item_on(layout.kind(), colours.pop(0), blocks[int(rng.integers(len(blocks)))])
    elif colours:
        layout.distractors(int(rng.integers(0, 2)), colours)
    layout.insist_on_reach()
    return requests


def _request(layout: Layout, kind: str, colours: list[str], where: str) -> Request:
    """Draw what one request needs; takes its colours from the list."""
    rng = layout.rng
    if kind == "stack":
        names = [layout.item("block", colours.pop(0)).name for _ in range(int(rng.integers(2, 4)))]
        form = "stack two" if len(names) == 2 else "stack three"
        return form, dict(zip("abc", names, strict=False))
    if kind == "container" and rng.random() < 0.5:
        a, b = (layout.item(layout.kind(), colours.pop(0)).name for _ in range(2))
        return "container two", {"a": a, "b": b, "r": where}
    return f"{kind} one", {"a": layout.item(layout.kind(), colours.pop(0)).name, "r": where}
