"""Words of the generalisation suite: every form in sentences that training never says.

Training draws from instructions.FORMS alone; what is here can only be read. "stack four" is a form of
its own: training asks for no tower of four.
"""

from dataclasses import replace

from sim.language.grammar import Form
from sim.scene import TABLE, Fact

_PUT = (
    "i want the {a} shut away in the {r}",
    "make the {a} disappear into the {r} and leave no opening",
)
_PUT_OPEN = (
    "i want to see the {a} lying in the opened {r}",
    "have the {r} pulled open and the {a} resting inside of it",
)
_GET = (
    "the {a} has to leave the {r} for the {s}, and the {r} is shut at the end",
    "transfer what is called {a} out of the {r} over to the {s}, closing the {r} behind you",
)
_GET_TABLE = (
    "the {a} has to leave the {r} for the table, and the {r} is shut at the end",
    "free the {a} from the {r}, closing the {r} behind you",
)

TEMPLATES: dict[str, tuple[str, ...]] = {
    "stack two": (
        "have the {b} carry the {a}",
        "i would like to see the {a} sitting on the {b}",
    ),
    "stack three": (
        "have the {c} carry the {b} and the {b} carry the {a}",
        "i would like a tower: its base the {c}, its middle the {b}, its tip the {a}",
    ),
    "order largest": (
        "every block on one tower please, shrinking as it rises",
        "let each block carry a smaller one",
    ),
    "order smallest": (
        "every block on one tower please, growing as it rises",
        "let each block carry a bigger one",
    ),
    "pyramid": (
        "have the {a} and the {b} touch and carry the {c} between them",
        "i would like a pyramid whose base is the {a} with the {b} and whose tip is the {c}",
    ),
    "unstack all": (
        "i do not want to see any towers",
        "spread everything flat over the table",
    ),
    "unstack two": (
        "only the table may carry the {a} and the {b}",
        "free the {a} and the {b} from the tower they are in",
    ),
    "container one": (
        "i want to find the {a} in the {r}",
        "let the {r} hold the {a}",
    ),
    "container two": (
        "i want to find the {a} in the {r} beside the {b}",
        "let the {r} hold the {a} as well as the {b}",
    ),
    "zone one": (
        "have the {a} stand within the {r}",
        "the {r} is the place for the {a}",
    ),
    "zone two": (
        "have the {a} stand within the {r} and the {b} within the {s}",
        "the {r} is the place for the {a}, the {s} is the one for the {b}",
    ),
    "zone both": (
        "have the {a} stand within the {r} together with the {b}",
        "the {r} is the place for the {a} as well as the {b}",
    ),
    "empty out": (
        "i want nothing left in the {r}",
        "get rid of all that the {r} holds",
    ),
    "empty into": (
        "whatever the {r} holds, i want it in the {s}",
        "let the {s} hold all that is in the {r} now",
    ),
    "swap": (
        "the {a} wants to be where the {b} is, and the other way round",
        "trade the {a} for the {b}",
    ),
    "restore one": (
        "let the {a} pay the {r} a visit before it goes home",
        "i want the {a} in the {r} for a while, but at the end as it is now",
    ),
    "restore two": (
        "let the {a} and the {b} pay the {r} a visit before they go home",
        "i want the {a} and the {b} in the {r} for a while, but at the end as they are now",
    ),
    "sort": (
        "no object should lie in a tray of a different colour, and none that has a tray outside",
        "let colours decide which tray holds what",
    ),
    "kinds": (
        "let the {r} hold what has corners and the {s} what is round",
        "i want to find blocks only in the {r}, cylinders only in the {s}",
    ),
    "relate left": (
        "looking from the front, the {b} should have the {a} at its left",
        "let the {a} be the left neighbour of the {b}",
    ),
    "relate right": (
        "looking from the front, the {b} should have the {a} at its right",
        "let the {a} be the right neighbour of the {b}",
    ),
    "relate front": (
        "looking from the front, the {a} should be nearer than the {b}",
        "let the {a} be the front neighbour of the {b}",
    ),
    "relate behind": (
        "looking from the front, the {a} should be farther off than the {b}",
        "let the {a} be the rear neighbour of the {b}",
    ),
    "between": (
        "have the {b} and the {c} enclose the {a}",
        "i want the {a} to have the {b} on one side and the {c} on the other",
    ),
    "row": (
        "let the {b} be the right neighbour of the {a} and the left one of the {c}",
        "reading from the left: {a}, {b}, {c}",
    ),
    "drawer_put closed": _PUT,
    "drawer_put open": _PUT_OPEN,
    "drawer_get tray": _GET,
    "drawer_get table": _GET_TABLE,
    "cabinet_put closed": _PUT,
    "cabinet_put open": _PUT_OPEN,
    "cabinet_get tray": _GET,
    "cabinet_get table": _GET_TABLE,
    "button first": (
        "no sooner than the {k} shines may the {a} enter the {r}",
        "work the {k} and, with it lit, have the {a} enter the {r}",
    ),
    "button last": (
        "no sooner than the {a} is in the {r} may the {k} shine",
        "have the {a} enter the {r} and, with it there, work the {k}",
    ),
    "push": (
        "nudge the {a} along until it is within the {r}",
        "without a grasp, have the {a} stand within the {r}",
    ),
    "push_place": (
        "nudge the {a} along until it is within the {r}, for the {s} has to hold the {b}",
        "the {s} is wanted for the {b}, so have the {a} slid within the {r}",
    ),
    "kitchen": (
        "i want the {a} and the {b} shut away in the {r} and, at last, the {k} lit",
        "once the {r} has taken in the {a} and the {b} and is shut, work the {k}",
    ),
}

# a tower that training does not ask for, in words like those of a tower of three
_STACK_FOUR = Form(
    (
        "build a tower with the {d} at the bottom, then the {c}, then the {b}, then the {a}",
        "make a tower: {d} first, {c} next, {b} after it, {a} on top",
        "build a tower of four, from bottom to top {d}, {c}, {b}, {a}",
        "pile up the {d}, the {c}, the {b} and the {a} in that order",
    ),
    (Fact("d", "on", TABLE), Fact("c", "on", "d"), Fact("b", "on", "c"), Fact("a", "on", "b")),
)


def unseen(forms: dict[str, Form]) -> dict[str, Form]:
    """The same forms in unseen words, and "stack four"."""
    worded = {name: replace(form, templates=TEMPLATES[name]) for name, form in forms.items()}
    return {**worded, "stack four": _STACK_FOUR}
