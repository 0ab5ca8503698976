"""Instructions about drawers, cabinets and buttons."""

from sim.language.grammar import Form
from sim.scene import OPENING, TABLE, Fact

_PUT_OPEN = (
    "open the {r} and put the {a} in it",
    "the {r} should stand open with the {a} inside",
    "put the {a} in the {r} and leave it open",
    "place the {a} into the {r}; do not close it again",
    "store the {a} in the {r} and let it stay open",
    "the {a} goes in the {r}, which stays open",
)
_PUT = (
    "put the {a} in the {r} and close it",
    "open the {r}, put the {a} in and close it",
    "store the {a} in the {r}, which must be closed at the end",
    "the {a} belongs in the {r}; shut it afterwards",
    "place the {a} into the {r} and shut it",
    "hide the {a} in the closed {r}",
)
_GET = (
    "take the {a} out of the {r}, put it in the {s} and close the {r}",
    "get the {a} from the {r} and place it in the {s}; shut the {r} afterwards",
    "the {a} is in the {r}: move it to the {s} and close the {r}",
    "open the {r}, bring the {a} to the {s}, and close the {r} again",
    "fetch the {a} from the {r} for the {s}, then close the {r}",
    "move the {a} from the {r} to the {s} and leave the {r} closed",
)
_GET_TABLE = (
    "take the {a} out of the {r} and close the {r}",
    "get the {a} from the {r}, put it on the table and shut the {r}",
    "the {a} is in the {r}: set it on the table and close the {r}",
    "open the {r}, put the {a} on the table, and close the {r} again",
    "fetch the {a} from the {r}, then close the {r}",
    "move the {a} from the {r} to the table and leave the {r} closed",
)


FORMS: dict[str, Form] = {
    **{
        f"{kind}_{name}": form
        for kind in OPENING
        for name, form in (
            ("put closed", Form(_PUT, (Fact("a", "in", "r"), Fact("r", "closed")))),
            ("put open", Form(_PUT_OPEN, (Fact("r", "open"), Fact("a", "in", "r")))),
            ("get tray", Form(_GET, (Fact("a", "in", "s"), Fact("r", "closed")))),
            ("get table", Form(_GET_TABLE, (Fact("a", "on", TABLE), Fact("r", "closed")))),
        )
    },
    "button first": Form(
        (
            "press the {k}, then put the {a} in the {r}",
            "first press the {k} and after it put the {a} in the {r}",
            "switch on the lamp with the {k} before you put the {a} in the {r}",
            "the {a} goes in the {r}, but the {k} is pressed before that",
            "push the {k}; only then move the {a} to the {r}",
            "light the lamp of the {k}, then bring the {a} to the {r}",
        ),
        (Fact("a", "in", "r"), Fact("k", "lit")),
        stages=((Fact("k", "lit"), Fact("a", "on", TABLE)),),
    ),
    "button last": Form(
        (
            "put the {a} in the {r}, then press the {k}",
            "first put the {a} in the {r} and after it press the {k}",
            "press the {k} when the {a} is in the {r}",
            "the {k} is pressed, but before that the {a} goes in the {r}",
            "move the {a} to the {r}; only then push the {k}",
            "bring the {a} to the {r}, then light the lamp of the {k}",
        ),
        (Fact("a", "in", "r"), Fact("k", "lit")),
        stages=((Fact("a", "in", "r"), Fact("k", "dark")),),
    ),
}
