"""A picture asked for in words: things with colours and counts, and how they stand to each other."""

import re
from dataclasses import dataclass

import numpy as np

from sim.language.grammar import match
from sim.language.lessons.phrases import (
    PLACES,
    articles,
    counted,
    listed,
    plain,
    read_counted,
    unlisted,
)
from sim.scene import Fact

# {things} is a list of any length
OPENINGS = (
    "{things}",
    "a picture of {things}",
    "draw {things}",
    "show me {things}",
    "a table with {things} on it",
    "paint a picture of {things}",
    "on the table there should be {things}",
)
# {place} is one of PLACES
CLAUSES = (
    "the {a} is {place}",
    "the {a} stands {place}",
    "{place} there is the {a}",
    "you see the {a} {place}",
)


@dataclass(frozen=True)
class Group:
    """Things of one colour and kind."""

    count: int
    colour: str
    kind: str


@dataclass(frozen=True)
class Wish:
    """What a picture is to show: these things and no others, and facts between single ones."""

    groups: tuple[Group, ...]
    facts: tuple[Fact, ...] = ()


def word(wish: Wish, rng: np.random.Generator) -> str:
    """One paraphrase: a sentence with the things, then one a fact."""
    told = listed([counted(g.count, g.colour, g.kind) for g in wish.groups])
    sentences = [OPENINGS[int(rng.integers(len(OPENINGS)))].format(things=told)]
    for fact in wish.facts:
        places, clause = PLACES[fact.relation], CLAUSES[int(rng.integers(len(CLAUSES)))]
        place = places[int(rng.integers(len(places)))].format(b=fact.target)
        sentences.append(clause.format(a=fact.object, place=place))
    return articles(". ".join(sentences))


def parse(text: str) -> Wish | None:
    """What a text asks for, or None when the grammar does not know it."""
    first, *rest = re.split(r"\.\s*", text.strip().rstrip("."))
    facts = [_fact(sentence) for sentence in rest]
    for opening in reversed(OPENINGS):  # the bare list last
        begin, end = opening.split("{things}")
        said = first.strip().lower()
        if not (said.startswith(begin) and said.endswith(end)):
            continue
        groups = [read_counted(part) for part in unlisted(said[len(begin) : len(said) - len(end)])]
        if all(groups) and all(facts):
            return Wish(tuple(Group(*g) for g in groups if g), tuple(f for f in facts if f))
    return None


def _fact(sentence: str) -> Fact | None:
    for relation, places in PLACES.items():
        for place in places:
            for clause in CLAUSES:
                slots = match(clause.replace("{place}", place), plain(sentence))
                if slots is not None:
                    return Fact(slots["a"], relation, slots["b"])
    return None
