"""Edits of a picture in words: recolour, add, remove, move, replace; also by a second picture."""

from dataclasses import dataclass

import numpy as np

from sim.language.grammar import match
from sim.language.lessons.phrases import KINDS, PLACES, articles, plain
from sim.scene import COLOURS

# {a} and {b} are there, {n} is new, {colour} a colour, {place} one of PLACES
TEMPLATES: dict[str, tuple[str, ...]] = {
    "recolour": (
        "make the {a} {colour}",
        "change the colour of the {a} to {colour}",
        "paint the {a} {colour}",
        "let the {a} be {colour} instead",
        "the {a} should be {colour}",
    ),
    "remove": (
        "remove the {a}",
        "take the {a} away",
        "delete the {a} from the picture",
        "show the table without the {a}",
        "let the {a} disappear",
    ),
    "add": (
        "add a {n} {place}",
        "put a new {n} {place}",
        "let a {n} appear {place}",
        "draw another thing: a {n} {place}",
        "there should also be a {n} {place}",
    ),
    "move": (
        "move the {a} {place}",
        "show the {a} {place} instead",
        "let the {a} stand {place}",
        "bring the {a} to another place: {place}",
        "the {a} should be {place}",
    ),
    "replace": (
        "replace the {a} with a {n}",
        "show a {n} instead of the {a}",
        "swap the {a} for a {n}",
        "exchange the {a} for a {n}",
        "where the {a} is there should be a {n}",
    ),
    "add seen": (
        "add the thing of the second picture {place}",
        "put what the second picture shows into the first, {place}",
        "the thing in the second picture should stand {place} in the first one",
        "take the thing from picture two and set it down {place}",
        "draw picture one with the thing of picture two {place}",
    ),
    "recolour seen": (
        "give the {a} the colour of the thing in the second picture",
        "paint the {a} of the first picture like the thing of the second picture",
        "the {a} should have the colour that picture two shows",
        "use the colour of the second picture for the {a}",
        "make the {a} as colourful as the thing in picture two",
    ),
}


@dataclass(frozen=True)
class Edit:
    """One change of a picture; what it does not need is empty."""

    verb: str
    # what it is done to; of "add": what is new, with "seen" not in the words
    object: str = ""
    # what stands there afterwards, or the new colour
    new: str = ""
    # where it goes: one of PLACES, and what to
    relation: str = ""
    target: str = ""

    @property
    def seen(self) -> bool:
        """Whether a second picture shows what the words leave out."""
        return self.verb.endswith("seen")


def word(edit: Edit, rng: np.random.Generator) -> str:
    """One paraphrase."""
    templates = TEMPLATES[edit.verb]
    template = templates[int(rng.integers(len(templates)))]
    places = PLACES.get(edit.relation, ("",))
    place = places[int(rng.integers(len(places)))].format(b=edit.target)
    return articles(template.format(a=edit.object, n=edit.new, colour=edit.new, place=place))


def parse(text: str, seen: str = "") -> Edit | None:
    """The edit that a text asks for, or None when the grammar does not know it.

    Args:
        seen: "colour kind" of what the second picture shows.
    """
    said = plain(text)
    for verb, templates in TEMPLATES.items():
        for template in templates:
            for relation, place in _places(template):
                slots = match(template.replace("{place}", place), said)
                if slots is not None and _fits(slots):
                    new = slots.get("n") or slots.get("colour") or _seen(verb, seen)
                    return Edit(verb, slots.get("a", ""), new, relation, slots.get("b", ""))
    return None


def _places(template: str) -> list[tuple[str, str]]:
    if "{place}" not in template:
        return [("", "")]
    return [(relation, place) for relation, places in PLACES.items() for place in places]


def _fits(slots: dict[str, str]) -> bool:
    names = [slots[name] for name in ("a", "b", "n") if name in slots]
    if not all(_is_name(name) for name in names):
        return False
    return "colour" not in slots or slots["colour"] in COLOURS


def _is_name(name: str) -> bool:
    colour, _, kind = name.partition(" ")
    return colour in COLOURS and kind in KINDS


def _seen(verb: str, seen: str) -> str:
    return {"add seen": seen, "recolour seen": seen.partition(" ")[0]}.get(verb, "")
