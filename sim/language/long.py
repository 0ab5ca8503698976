"""Instructions of the long tasks that are no chain of others."""

from sim.language.grammar import Form
from sim.scene import Fact

FORMS: dict[str, Form] = {
    "kitchen": Form(
        (
            "put the {a} and the {b} in the {r}, close it, and light the lamp of the {k}",
            "store the {a} and the {b} in the closed {r}, and press the {k} last",
            "the {a} and the {b} go in the {r}; when it is shut, press the {k}",
            "open the {r}, put the {a} and the {b} in, close it and push the {k}",
            "tidy the {a} and the {b} away in the {r}, shut it, press the {k}",
            "hide the {a} and the {b} in the {r}, then shut it and then press the {k}",
        ),
        (Fact("a", "in", "r"), Fact("b", "in", "r"), Fact("r", "closed"), Fact("k", "lit")),
        stages=((Fact("a", "in", "r"), Fact("b", "in", "r"), Fact("r", "closed"), Fact("k", "dark")),),
    ),
}
