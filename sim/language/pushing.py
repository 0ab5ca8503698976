"""Instructions about what is too large to grasp."""

from sim.language.grammar import Form
from sim.scene import Fact

FORMS: dict[str, Form] = {
    "push": Form(
        (
            "push the {a} to the {r}",
            "slide the {a} into the {r}",
            "move the {a} to the {r} by pushing it",
            "shove the {a} over to the {r}",
            "the {a} is too large to grasp: push it to the {r}",
            "get the {a} into the {r} without lifting it",
        ),
        (Fact("a", "in", "r"),),
    ),
    "push_place": Form(
        (
            "push the {a} to the {r} and put the {b} in the {s}",
            "make room: slide the {a} to the {r}, and bring the {b} to the {s}",
            "the {a} belongs in the {r} and the {b} in the {s}; push what you cannot lift",
            "shove the {a} over to the {r} so that the {b} can stand in the {s}",
            "get the {a} into the {r}, and the {b} into the {s}",
            "clear the {s} by pushing the {a} to the {r}, and set the {b} there",
        ),
        (Fact("a", "in", "r"), Fact("b", "in", "s")),
    ),
}
