"""Towers of four: one more than in any training scene.

Task: one of three, as the seed says: stack four named blocks in a given order; stack all four blocks by
size, the largest or the smallest at the bottom; take a tower of four down.
Randomisation: as in stack, order and unstack, with 0-1 distractors; sizes that differ by 6 mm.
Success: as there.
"""

from collections.abc import Callable

from sim.layout import Layout

Asked = tuple[str, dict[str, str]]

TALLEST = 4
_SIZES = (0.036, 0.042, 0.048, 0.054)  # m


def _stack(layout: Layout) -> Asked:
    colours = layout.colours(5)
    names = [layout.item("block", colour).name for colour in colours[:4]]
    layout.distractors(int(layout.rng.integers(0, 2)), colours[4:])
    return "stack four", dict(zip("abcd", names, strict=True))


def _order(layout: Layout) -> Asked:
    rng = layout.rng
    colours = layout.colours(5)
    for index, colour in zip(rng.permutation(4), colours, strict=False):
        layout.item("block", colour, _SIZES[int(index)])
    if rng.random() < 0.5:
        layout.item("cylinder", colours[4])
    return ("order largest" if rng.random() < 0.5 else "order smallest"), {}


def _unstack(layout: Layout) -> Asked:
    colours = layout.colours(5)
    top = layout.item("block", colours[0])
    for colour in colours[1:3]:
        top = layout.item_on("block", colour, top)
    layout.item_on(layout.kind(), colours[3], top)
    layout.distractors(int(layout.rng.integers(0, 2)), colours[4:])
    return "unstack all", {}


KINDS_OF: tuple[tuple[str, Callable[[Layout], Asked]], ...] = (
    ("stack", _stack),
    ("order", _order),
    ("unstack", _unstack),
)
