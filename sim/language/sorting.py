"""Instructions about sorting, and about where things are with respect to each other."""

from sim.language.grammar import Form, Slots
from sim.scene import Fact, Goal, Scene, pair


def colour_goal(scene: Scene, _: Slots | None = None) -> Goal:
    """Every item in the receptacle of its colour; nothing else in there."""
    by_colour = {r.colour: r.name for r in scene.receptacles}
    facts = tuple(
        Fact(item.name, "in", by_colour[item.colour]) for item in scene.items if item.colour in by_colour
    )
    return Goal(facts, tuple(r.name for r in scene.receptacles))


def _kinds(scene: Scene, slots: Slots) -> Goal:
    """All blocks in r, all cylinders in s, and nothing else in there."""
    where = {"block": slots["r"], "cylinder": slots["s"]}
    facts = tuple(Fact(i.name, "in", where[i.kind]) for i in scene.items if i.kind in where)
    return Goal(facts, (slots["r"], slots["s"]))


# how a direction is said; {b} is the reference
_SIDES = {
    "left": ("left_of", "to the left of the {b}", "on the left side of the {b}"),
    "right": ("right_of", "to the right of the {b}", "on the right side of the {b}"),
    "front": ("in_front_of", "in front of the {b}", "on the near side of the {b}"),
    "behind": ("behind", "behind the {b}", "on the far side of the {b}"),
}


def _side(relation: str, first: str, second: str) -> Form:
    return Form(
        (
            f"put the {{a}} {first}",
            f"place the {{a}} {first}",
            f"move the {{a}} so that it stands {first}",
            f"the {{a}} should be {second}",
            f"set the {{a}} down {second}",
            f"bring the {{a}} over, {second}",
        ),
        (Fact("a", relation, "b"),),
    )


FORMS: dict[str, Form] = {
    "sort": Form(
        (
            "sort the objects by colour",
            "put each object in the tray of its colour",
            "sort everything into the tray of the same colour",
            "tidy up: every object goes into the tray of its colour",
            "place the objects in the trays that match their colours",
            "match each object with the tray of its colour",
            "sort the things into the trays by colour",
        ),
        goal=colour_goal,
    ),
    "kinds": Form(
        (
            "put the blocks in the {r} and the cylinders in the {s}",
            "sort by shape: blocks in the {r}, cylinders in the {s}",
            "all blocks go into the {r}, all cylinders into the {s}",
            "place every block in the {r} and every cylinder in the {s}",
            "the {r} is for blocks and the {s} is for cylinders",
            "separate the shapes: blocks to the {r}, cylinders to the {s}",
        ),
        goal=_kinds,
    ),
    **{f"relate {name}": _side(*said) for name, said in _SIDES.items()},
    "between": Form(
        (
            "put the {a} between the {b} and the {c}",
            "place the {a} in the middle of the {b} and the {c}",
            "the {a} should stand between the {b} and the {c}",
            "move the {a} to the place between the {b} and the {c}",
            "set the {a} down halfway from the {b} to the {c}",
            "bring the {a} in between the {b} and the {c}",
        ),
        (Fact("a", "between", pair("b", "c")),),
    ),
    "row": Form(
        (
            "line up, from left to right, the {a}, the {b} and the {c}",
            "make a row: {a} on the left, {b} in the middle, {c} on the right",
            "put the {b} right of the {a}, and the {c} right of the {b}",
            "arrange the {a}, the {b} and the {c} in a row from left to right",
            "form a line with the {a}, then the {b}, then the {c}, left to right",
            "from left to right the table should show the {a}, the {b}, the {c}",
        ),
        (Fact("b", "right_of", "a"), Fact("c", "right_of", "b")),
    ),
}
