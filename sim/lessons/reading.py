"""Is a picture what its words ask for? Read in the picture alone (look.py), by any painter.

Relations are read with more room than sim/relations.py gives: a place that is read is a centimetre off.
Knows wishes and pictures; no record and no simulator.
"""

from sim.language.lessons.t2i import Group, Wish
from sim.lessons import look
from sim.lessons.lesson import Picture
from sim.lessons.look import Found
from sim.lessons.silhouettes import ITEMS, SIZE_M, SLOTS
from sim.relations import DIRECTIONS
from sim.scene import Fact, Receptacle

# m: a thing to the side of another lies at least so far to that side, and at most so far off the line
_SIDE, _OFF_LINE, _FARTHEST = 0.040, 0.045, 0.150
_ON_TOP = (0.030, 0.070)  # m between the middles
_OVER = 0.030  # m that the upper one may stand off the middle
_INSIDE = 0.015  # m that an object's middle may seem outside of a container
_SLACK = 0.7  # an outline fits better than that, or it is none of the kinds


def check(picture: Picture, wish: Wish) -> dict[str, bool]:
    """Named conditions: objects (the kinds), colours (these and no others), counts, relations."""
    found = {group.colour: find(picture, group) for group in wish.groups}
    wanted = {group.colour for group in wish.groups}
    counts = {group.colour: len(found[group.colour]) == group.count for group in wish.groups}
    kinds = all(
        found[group.colour] and all(t.kind == group.kind and t.fit > _SLACK for t in found[group.colour])
        for group in wish.groups
    )
    return {
        "objects": kinds,
        "colours": set(look.colours_in(picture)) == wanted,
        "counts": all(counts.values()),
        "relations": all(_holds(fact, found) for fact in wish.facts),
    }


def find(picture: Picture, group: Group) -> list[Found]:
    """What there is of a group's colour; none where the two views do not agree."""
    if group.kind in ITEMS:
        return look.find_items(picture, group.colour) or []
    there = look.find_container(picture, group.colour)
    return [there] if there else []


def _holds(fact: Fact, found: dict[str, list[Found]]) -> bool:
    """Whether a fact between two single things holds."""
    pair = [found.get(name.partition(" ")[0], []) for name in (fact.object, fact.target)]
    if any(len(things) != 1 for things in pair):
        return False
    (one,), (other,) = pair
    x, y, z = (a - b for a, b in zip(one.position, other.position, strict=True))
    if fact.relation in DIRECTIONS:
        dx, dy = DIRECTIONS[fact.relation]
        along, across = dx * x + dy * y, dx * y - dy * x
        level = abs(z) < SIZE_M / 2
        return level and _SIDE <= along <= _FARTHEST and abs(across) <= _OFF_LINE
    if fact.relation == "on":
        return _ON_TOP[0] <= z <= _ON_TOP[1] and (x * x + y * y) ** 0.5 <= _OVER
    return other.kind in SLOTS and _within(other, one)


def _within(container: Found, item: Found) -> bool:
    """Whether an item's middle is inside a container, whichever way that is turned."""
    x, y, _ = container.position
    like = Receptacle("", container.kind, container.colour, SLOTS[container.kind], x, y, 0.0)
    return like.outside(item.position[0], item.position[1]) <= _INSIDE + abs(like.half[0] - like.half[1])
