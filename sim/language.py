"""The grammar: instructions and subgoals, in words and back.

One table drives both directions: what `word_*` can write, `parse_*` can read. Case, punctuation,
doubled blanks and a leading "please" do not matter. Knows names, not physics.
"""

import functools
import re
from dataclasses import dataclass

import numpy as np

from sim.scene import TABLE, Fact, Goal, Scene, Skill


@dataclass(frozen=True)
class Form:
    """One way to ask: paraphrases over the same slots, and the facts they ask for.

    Facts name slots ("a") or stand for themselves ("table"). A form without facts asks for every
    object to be in the receptacle of its colour.
    """

    templates: tuple[str, ...]
    facts: tuple[Fact, ...] = ()


# Instructions, by name; the tasks choose a form and fill its slots.
FORMS: dict[str, Form] = {
    "stack two": Form(
        (
            "stack the {a} on the {b}",
            "put the {a} on top of the {b}",
            "place the {a} on the {b}",
            "set the {a} down on top of the {b}",
            "build a tower of two with the {b} at the bottom and the {a} on top",
            "the {a} should end up on the {b}",
            "make a stack: {b} below, {a} above",
        ),
        (Fact("b", "on", TABLE), Fact("a", "on", "b")),
    ),
    "stack three": Form(
        (
            "build a tower with the {c} at the bottom, then the {b}, then the {a}",
            "stack the {b} on the {c} and the {a} on the {b}",
            "make a tower: {c} first, {b} next, {a} on top",
            "put the {b} on the {c}, then the {a} on top of the {b}",
            "build a tower of three, from bottom to top {c}, {b}, {a}",
            "pile up the {c}, the {b} and the {a} in that order",
            "the {a} goes on the {b}, and the {b} goes on the {c}",
        ),
        (Fact("c", "on", TABLE), Fact("b", "on", "c"), Fact("a", "on", "b")),
    ),
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
}

# Subgoals, by kind of skill
SUBGOALS: dict[str, tuple[str, ...]] = {
    "pick": (
        "pick up the {object}",
        "grasp the {object}",
        "lift the {object}",
    ),
    "place on": (
        "place the {object} on the {target}",
        "put the {object} on top of the {target}",
        "set the {object} down on the {target}",
    ),
    "place in": (
        "place the {object} in the {target}",
        "put the {object} into the {target}",
        "drop the {object} in the {target}",
    ),
}


def word_instruction(form: str, slots: dict[str, str], rng: np.random.Generator) -> str:
    """One paraphrase of an instruction."""
    templates = FORMS[form].templates
    return templates[int(rng.integers(len(templates)))].format(**slots)


def goal_of(form: str, slots: dict[str, str], scene: Scene | None = None) -> Goal:
    """What a form with these slots asks for; forms without facts need the scene."""
    facts = FORMS[form].facts
    if not facts:
        if scene is None:
            raise ValueError(f"the goal of {form!r} depends on the scene; give it")
        return colour_goal(scene)
    named = tuple(
        Fact(slots.get(f.object, f.object), f.relation, slots.get(f.target, f.target)) for f in facts
    )
    return Goal(named)


def colour_goal(scene: Scene) -> Goal:
    """Every item in the receptacle of its colour; nothing else in there."""
    by_colour = {r.colour: r.name for r in scene.receptacles}
    facts = tuple(
        Fact(item.name, "in", by_colour[item.colour]) for item in scene.items if item.colour in by_colour
    )
    return Goal(facts, tuple(r.name for r in scene.receptacles))


def word_skill(skill: Skill, scene: Scene, paraphrase: int = 0) -> str:
    """A skill as a subgoal in words; `paraphrase` counts through the templates."""
    templates = SUBGOALS[_kind(skill, scene)]
    template = templates[paraphrase % len(templates)]
    return template.format(object=skill.object, target=skill.target)


def parse_skill(text: str, scene: Scene) -> Skill | None:
    """The skill that a subgoal asks for, or None when the text or a name in it is unknown.

    The relation must fit the target: nothing is placed "in" a block, nor "on" a box.
    """
    for kind, templates in SUBGOALS.items():
        for template in templates:
            slots = _match(template, text)
            if slots is None:
                continue
            skill = Skill(kind.split()[0], slots["object"], slots.get("target", ""))
            if _names_known(skill, scene) and _kind(skill, scene) == kind:
                return skill
    return None


def parse_instruction(text: str, scene: Scene) -> Goal | None:
    """The goal that an instruction asks for in this scene, or None when it is not understood."""
    objects = {item.name for item in scene.items}
    names = objects | {r.name for r in scene.receptacles}
    for form, table in FORMS.items():
        for template in table.templates:
            slots = _match(template, text)
            if slots is None or not set(slots.values()) <= names:
                continue
            goal = goal_of(form, slots, scene)
            if _goal_fits(goal, scene, objects):
                return goal
    return None


# The short name of the reading that callers want most
parse = parse_skill


def _goal_fits(goal: Goal, scene: Scene, objects: set[str]) -> bool:
    """Distinct objects, put on objects or the table, or in receptacles."""
    moved = [fact.object for fact in goal.facts]
    if len(set(moved)) != len(moved) or not set(moved) <= objects:
        return False
    for fact in goal.facts:
        inside = scene.receptacle(fact.target) is not None
        if inside != (fact.relation == "in") or fact.target == fact.object:
            return False
    return True


def _kind(skill: Skill, scene: Scene) -> str:
    if skill.verb == "pick":
        return "pick"
    return "place in" if scene.receptacle(skill.target) is not None else "place on"


def _names_known(skill: Skill, scene: Scene) -> bool:
    objects = {item.name for item in scene.items}
    targets = objects | {r.name for r in scene.receptacles} | {TABLE}
    if skill.verb == "pick":
        return skill.object in objects
    return skill.object in objects and skill.target in targets and skill.target != skill.object


def _normal(text: str) -> str:
    words = re.sub(r"[^a-z0-9{} ]+", " ", text.lower()).split()
    return " ".join(words[1:] if words[:1] == ["please"] else words)


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>[a-z0-9]+(?: [a-z0-9]+)?)"

    return re.compile(re.sub(r"\{(\w+)\}", group, _normal(template)))


def _match(template: str, text: str) -> dict[str, str] | None:
    match = _pattern(template).fullmatch(_normal(text))
    return match.groupdict() if match else None
