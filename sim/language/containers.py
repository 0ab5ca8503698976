"""Instructions about trays, boxes, bowls and zones."""

from sim.language.grammar import Form, Slots, on_table
from sim.scene import Fact, Goal, Scene


def inside(scene: Scene, receptacle: str) -> list[str]:
    """What a scene draws into a receptacle."""
    where = scene.receptacle(receptacle)
    if where is None:
        return []
    return [i.name for i in scene.items if where.outside(i.x, i.y) == 0 and i.z > where.floor]


def _empty(_: Scene, slots: Slots) -> Goal:
    return Goal((), (slots["r"],))


def _transfer(scene: Scene, slots: Slots) -> Goal:
    """All that began in r lies in s, and r is empty."""
    return Goal(tuple(Fact(name, "in", slots["s"]) for name in inside(scene, slots["r"])), (slots["r"],))


FORMS: dict[str, Form] = {
    "container one": Form(
        (
            "put the {a} in the {r}",
            "place the {a} into the {r}",
            "drop the {a} in the {r}",
            "the {a} belongs in the {r}",
            "store the {a} inside the {r}",
            "move the {a} into the {r}",
        ),
        (Fact("a", "in", "r"),),
    ),
    "container two": Form(
        (
            "put the {a} and the {b} in the {r}",
            "place both the {a} and the {b} into the {r}",
            "the {a} and the {b} belong in the {r}",
            "store the {a} inside the {r}, and the {b} too",
            "fill the {r} with the {a} and the {b}",
            "move the {a} and then the {b} into the {r}",
        ),
        (Fact("a", "in", "r"), Fact("b", "in", "r")),
    ),
    "zone one": Form(
        (
            "move the {a} to the {r}",
            "put the {a} in the {r}",
            "bring the {a} to the {r}",
            "place the {a} onto the {r}",
            "the {a} should be in the {r}",
            "take the {a} over to the {r}",
        ),
        (Fact("a", "in", "r"),),
    ),
    "zone two": Form(
        (
            "move the {a} to the {r} and the {b} to the {s}",
            "put the {a} in the {r} and the {b} in the {s}",
            "bring the {a} to the {r}, then the {b} to the {s}",
            "the {a} goes to the {r}, the {b} goes to the {s}",
            "place the {a} onto the {r} and the {b} onto the {s}",
            "take the {a} over to the {r} and the {b} over to the {s}",
        ),
        (Fact("a", "in", "r"), Fact("b", "in", "s")),
    ),
    "zone both": Form(
        (
            "move the {a} and the {b} to the {r}",
            "put both the {a} and the {b} in the {r}",
            "bring the {a} and the {b} over to the {r}",
            "the {a} and the {b} should be in the {r}",
            "gather the {a} and the {b} in the {r}",
            "take the {a}, then the {b}, to the {r}",
        ),
        (Fact("a", "in", "r"), Fact("b", "in", "r")),
    ),
    "empty out": Form(
        (
            "empty the {r}",
            "take everything out of the {r}",
            "move everything from the {r} to the table",
            "clear out the {r}",
            "nothing should be left in the {r}",
            "unload the {r} onto the table",
        ),
        goal=_empty,
    ),
    "empty into": Form(
        (
            "move everything from the {r} into the {s}",
            "empty the {r} into the {s}",
            "transfer what is in the {r} to the {s}",
            "all that lies in the {r} belongs in the {s}",
            "unload the {r} into the {s}",
            "take the things out of the {r} and put them in the {s}",
        ),
        goal=_transfer,
    ),
    "swap": Form(
        (
            "swap the {a} and the {b}",
            "exchange the {a} with the {b}",
            "let the {a} and the {b} trade places",
            "put the {a} where the {b} is and the {b} where the {a} is",
            "the {a} and the {b} should change places",
            "switch the places of the {a} and the {b}",
        ),
        goal=lambda scene, slots: _swapped(scene, slots["a"], slots["b"]),
    ),
    "restore one": Form(
        (
            "put the {a} in the {r}, then bring it back where it was",
            "move the {a} to the {r} and afterwards return it to its old place",
            "show the {a} in the {r} and put it back to where it started",
            "take the {a} to the {r} and then back again",
            "the {a} visits the {r} and returns to its place",
            "place the {a} in the {r} for a moment, then restore it",
        ),
        goal=lambda scene, slots: _restored(scene, [slots["a"]], slots["r"]),
    ),
    "restore two": Form(
        (
            "put the {a} and the {b} in the {r}, then bring both back where they were",
            "move the {a} and the {b} to the {r} and afterwards return them to their old places",
            "show the {a} and the {b} in the {r} and put them back to where they started",
            "take the {a} and the {b} to the {r} and then back again",
            "the {a} and the {b} visit the {r} and return to their places",
            "place the {a} and the {b} in the {r} for a moment, then restore both",
        ),
        goal=lambda scene, slots: _restored(scene, [slots["a"], slots["b"]], slots["r"]),
    ),
}


def place_of(scene: Scene, name: str) -> Fact:
    """Where a scene draws an item: in a receptacle, on another item, or on the table."""
    for receptacle in scene.receptacles:
        if name in inside(scene, receptacle.name):
            return Fact(name, "in", receptacle.name)
    item = scene.item(name)
    for other in scene.items:
        under = abs(item.z - item.size / 2 - other.z - other.size / 2) < 0.002
        if under and (item.x, item.y) == (other.x, other.y):
            return Fact(name, "on", other.name)
    return on_table(name)[0]


def _swapped(scene: Scene, a: str, b: str) -> Goal:
    if not {a, b} <= {item.name for item in scene.items}:
        return Goal(())
    return Goal((Fact(a, *_place(scene, b)), Fact(b, *_place(scene, a))))


def _place(scene: Scene, name: str) -> tuple[str, str]:
    fact = place_of(scene, name)
    return fact.relation, fact.target


def _restored(scene: Scene, names: list[str], receptacle: str) -> Goal:
    if not set(names) <= {item.name for item in scene.items}:
        return Goal(())
    there = tuple(Fact(name, "in", receptacle) for name in names)
    # lowest first: what carried another goes back before it
    back = sorted((place_of(scene, name) for name in names), key=lambda f: f.target in names)
    return Goal(tuple(back), (), (there,))
