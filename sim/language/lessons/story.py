"""Stories in words: who acts, what happens in a panel, and back. Actors have names, by their colour."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from sim.language.grammar import match
from sim.language.lessons.phrases import articles, listed, read_counted, unlisted
from sim.scene import TABLE, Scene, Skill

NAMES = {
    "red": "Ruby", "green": "Gus", "blue": "Bo", "yellow": "Yara",
    "purple": "Pip", "cyan": "Cleo", "orange": "Otto",
}  # fmt: skip
QUESTIONS = (
    "tell a story in {n} pictures about {cast}",
    "a story with {n} pictures: {cast}",
    "draw {n} panels of a story about {cast}",
    "make a picture story in {n} parts with {cast}",
    "what happens to {cast}? tell it in {n} pictures",
)
OPENINGS = (
    "Once upon a time there lived {cast}.",
    "This is the story of {cast}.",
    "On a quiet table lived {cast}.",
)
# By kind of move, as SUBGOALS: {a} acts, {b} is an actor, {t} a thing that stays
MOVES: dict[str, tuple[str, ...]] = {
    "on": ("{a} climbs on top of {b}.", "{a} hops onto {b}.", "With a big jump {a} lands on {b}."),
    "in": ("{a} slips into the {t}.", "{a} looks for shelter in the {t}.", "{a} takes a nap in the {t}."),
    "table": ("{a} goes back to the table.", "{a} wants to be alone.", "{a} steps down to a free place."),
    "left_of": ("{a} goes to the left of {b}.", "{a} stands at the left of {b}."),
    "right_of": ("{a} goes to the right of {b}.", "{a} stands at the right of {b}."),
    "in_front_of": ("{a} walks in front of {b}.", "{a} stands before {b}."),
    "behind": ("{a} hides behind {b}.", "{a} runs behind {b}."),
    "home": ("At last {a} goes home.", "In the evening {a} returns to where it began."),
}
HOME = "home"


def cast(scene: Scene) -> str:
    """Who acts and what stands there, with articles."""
    names = [item.name for item in scene.items] + [r.name for r in scene.receptacles]
    return listed([f"a {name}" for name in names])


def word_question(scene: Scene, panels: int, rng: np.random.Generator) -> str:
    """One paraphrase."""
    template = QUESTIONS[int(rng.integers(len(QUESTIONS)))]
    return articles(template.format(n=panels, cast=cast(scene)))


def parse_question(text: str) -> tuple[int, list[tuple[str, str]]] | None:
    """How many panels, and (colour, kind) of all that is in the story; None: not understood."""
    for template in QUESTIONS:
        pattern = re.escape(template).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{cast\}", r"(?P<cast>.+)")
        found = re.fullmatch(pattern, text)
        read = [read_counted(part) for part in unlisted(found["cast"])] if found else [None]
        if found and all(read):
            return int(found["n"]), [(r[1], r[2]) for r in read if r]
    return None


def word_opening(scene: Scene, rng: np.random.Generator) -> str:
    """The first panel's words: everyone by name."""
    who = [f"{NAMES[item.colour]} the {item.name}" for item in scene.items]
    where = [f"a {r.name}" for r in scene.receptacles]
    return articles(OPENINGS[int(rng.integers(len(OPENINGS)))].format(cast=listed(who + where)))


def word_move(skill: Skill, scene: Scene, rng: np.random.Generator, *, home: bool = False) -> str:
    """What happens: a place of an actor in words; home: it goes to where it stood at first."""
    kind = HOME if home else _kind(skill, scene)
    templates = MOVES[kind]
    target = {item.name: NAMES[item.colour] for item in scene.items}.get(skill.target, "")
    return templates[int(rng.integers(len(templates)))].format(
        a=NAMES[scene.item(skill.object).colour], b=target, t=skill.target
    )


def parse_move(text: str, scene: Scene) -> tuple[Skill, bool] | None:
    """The place that a panel tells of, and whether it is home; None: not understood."""
    names = {NAMES[item.colour].lower(): item.name for item in scene.items}
    for kind, templates in MOVES.items():
        for template in templates:
            slots = match(template, text)
            if slots is None or not _fits(slots, names, scene):
                continue
            target = names.get(slots.get("b", "")) or slots.get("t") or TABLE
            relation = "" if kind in ("on", "in", "table", HOME) else kind
            return Skill("place", names[slots["a"]], target, relation), kind == HOME
    return None


def _fits(slots: Mapping[str, str], names: Mapping[str, str], scene: Scene) -> bool:
    actors: Sequence[str] = [slots[key] for key in ("a", "b") if key in slots]
    return all(actor in names for actor in actors) and (
        "t" not in slots or scene.receptacle(slots["t"]) is not None
    )


def _kind(skill: Skill, scene: Scene) -> str:
    if skill.relation:
        return skill.relation
    if skill.target == TABLE:
        return TABLE
    return "in" if scene.receptacle(skill.target) is not None else "on"
