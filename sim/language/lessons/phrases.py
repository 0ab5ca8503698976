"""What the grammars of several tasks share: things with an article or a number, and where they go.

Knows no task.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from sim.language.grammar import normal
from sim.scene import COLOURS, Fact, names_in

NUMBERS = ("no", "one", "two", "three", "four")
KINDS = ("block", "cylinder", "tray", "box", "bowl", "zone")
_PLURALS = {"box": "boxes"}

# Where something is put, or stands: relations of states, in words
PLACES: dict[str, tuple[str, ...]] = {
    "left_of": ("to the left of the {b}", "left of the {b}", "on the left side of the {b}"),
    "right_of": ("to the right of the {b}", "right of the {b}", "on the right side of the {b}"),
    "in_front_of": ("in front of the {b}", "on the near side of the {b}", "before the {b}"),
    "behind": ("behind the {b}", "on the far side of the {b}", "at the back of the {b}"),
    "on": ("on top of the {b}", "on the {b}", "upon the {b}"),
    "in": ("in the {b}", "inside the {b}", "into the {b}"),
}


def articles(text: str) -> str:
    """English: an orange block."""
    return re.sub(r"\ba (?=orange)", "an ", text)


def plain(text: str) -> str:
    """Undo `articles` and the looks of a sentence, for reading."""
    return re.sub(r"\ban (?=orange)", "a ", normal(text))


def listed(parts: Sequence[str]) -> str:
    """As "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def unlisted(text: str) -> list[str]:
    """Parts of such a list."""
    return re.split(r", | and ", text)


def counted(count: int, colour: str, kind: str) -> str:
    """As "two red blocks" or "a red block"."""
    if count == 1:
        return f"a {colour} {kind}"
    return f"{NUMBERS[count]} {colour} {_PLURALS.get(kind, kind + 's')}"


def read_counted(text: str) -> tuple[int, str, str] | None:
    """Count, colour and kind, or None when that is not what it says."""
    words = plain(text).split()
    if len(words) != 3 or words[1] not in COLOURS:
        return None
    count = 1 if words[0] in ("a", "one") else NUMBERS.index(words[0]) if words[0] in NUMBERS else 0
    singular = {_PLURALS.get(kind, kind + "s"): kind for kind in KINDS}
    kind = words[2] if count == 1 else singular.get(words[2], "")
    return (count, words[1], kind) if count and kind in KINDS else None


def things(names: Iterable[tuple[str, str]]) -> str:
    """All of these (colour, kind), counted, as one list."""
    groups = Counter(names)
    return listed([counted(n, colour, kind) for (colour, kind), n in groups.items()])


def stands(fact: Fact) -> str:
    """A fact as a sentence: "the red block is in the green tray"."""
    if fact.relation == "held":
        return f"the gripper holds the {fact.object}"
    if not fact.target:
        return f"the {fact.object} is {fact.relation}"
    names = listed([f"the {name}" for name in names_in(fact.target)])
    return f"the {fact.object} is {fact.relation} {names}"
