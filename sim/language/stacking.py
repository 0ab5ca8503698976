"""Instructions about towers, pyramids, and taking them down."""

import itertools

from sim.language.grammar import Form, Slots, on_table
from sim.scene import TABLE, Fact, Goal, Scene, pair


def _by_size(scene: Scene, *, largest_below: bool) -> Goal:
    """All blocks in one tower, by size."""
    blocks = sorted(
        (item for item in scene.items if item.kind == "block"),
        key=lambda item: -item.size if largest_below else item.size,
    )
    names = [block.name for block in blocks]
    above = tuple(Fact(b, "on", a) for a, b in itertools.pairwise(names))
    return Goal(on_table(*names[:1]) + above)


def _largest_below(scene: Scene, _: Slots) -> Goal:
    return _by_size(scene, largest_below=True)


def _smallest_below(scene: Scene, _: Slots) -> Goal:
    return _by_size(scene, largest_below=False)


def _everything_down(scene: Scene, _: Slots) -> Goal:
    """Every item on the table."""
    return Goal(on_table(*(item.name for item in scene.items)))


FORMS: dict[str, Form] = {
    "stack two": Form(
        (
            "stack the {a} on the {b}",
            "put the {a} on top of the {b}",
            "place the {a} on the {b}",
            "set the {a} down on top of the {b}",
            "build a tower of two with the {b} at the bottom and the {a} on top",
            "the {a} should end up on the {b}",
            "make a stack: {b} below, {a} above",
        ),
        (Fact("b", "on", TABLE), Fact("a", "on", "b")),
    ),
    "stack three": Form(
        (
            "build a tower with the {c} at the bottom, then the {b}, then the {a}",
            "stack the {b} on the {c} and the {a} on the {b}",
            "make a tower: {c} first, {b} next, {a} on top",
            "put the {b} on the {c}, then the {a} on top of the {b}",
            "build a tower of three, from bottom to top {c}, {b}, {a}",
            "pile up the {c}, the {b} and the {a} in that order",
            "the {a} goes on the {b}, and the {b} goes on the {c}",
        ),
        (Fact("c", "on", TABLE), Fact("b", "on", "c"), Fact("a", "on", "b")),
    ),
    "order largest": Form(
        (
            "stack the blocks by size with the largest at the bottom",
            "build a tower of all blocks, the biggest one below and the smallest on top",
            "pile up the blocks from large to small",
            "order the blocks by size in one tower, the smallest on top",
            "make a tower that gets narrower from bottom to top",
            "sort the blocks into a tower, largest first",
        ),
        goal=_largest_below,
    ),
    "order smallest": Form(
        (
            "stack the blocks by size with the smallest at the bottom",
            "build a tower of all blocks, the smallest one below and the biggest on top",
            "pile up the blocks from small to large",
            "order the blocks by size in one tower, the largest on top",
            "make a tower that gets wider from bottom to top",
            "sort the blocks into a tower, smallest first",
        ),
        goal=_smallest_below,
    ),
    "pyramid": Form(
        (
            "build a pyramid: the {a} and the {b} side by side, the {c} on both",
            "put the {b} right next to the {a} and the {c} on top of the two",
            "make a pyramid with the {a} and the {b} below and the {c} on top",
            "the {c} should rest on the {a} and the {b} together",
            "set the {b} against the {a}, and the {c} across both",
            "form a small pyramid from the {a}, the {b} and, on top, the {c}",
        ),
        (Fact("a", "on", TABLE), Fact("b", "beside", "a"), Fact("c", "on", pair("a", "b"))),
    ),
    "unstack all": Form(
        (
            "take the tower down: every object goes on the table",
            "unstack everything",
            "put every object on the table by itself",
            "nothing should stand on anything else",
            "take everything apart and set it on the table",
            "clear all the piles, each object on the table",
        ),
        goal=_everything_down,
    ),
    "unstack two": Form(
        (
            "take the {a} and the {b} down to the table",
            "put the {a} on the table, and the {b} too",
            "unstack the {a} and the {b}",
            "get the {a} and the {b} off the tower",
            "the {a} and the {b} should stand on the table",
            "set both the {a} and the {b} on the table",
        ),
        on_table("a", "b"),
    ),
}
