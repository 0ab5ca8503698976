"""Instructions: goals in words, and back. Several requests may be chained in one sentence."""

import re

import numpy as np

from sim.language import containers, long, parts, pushing, sorting, stacking, unseen
from sim.language.grammar import Form, Slots, match, normal
from sim.relations import SPATIAL
from sim.scene import TABLE, Goal, Scene, names_in

# Instructions, by name; the tasks choose a form and fill its slots. A form's first word is the
# family that draws it.
FORMS: dict[str, Form] = {
    **stacking.FORMS,
    **containers.FORMS,
    **sorting.FORMS,
    **parts.FORMS,
    **pushing.FORMS,
    **long.FORMS,
}
# The same in words that training never says: what the generalisation suite asks with
UNSEEN: dict[str, Form] = unseen.unseen(FORMS)
# What a form means, and all that can be read: training's words first
MEANINGS = UNSEEN | FORMS
_READABLE = (*FORMS.values(), *UNSEEN.values())

# A form with its slots
Request = tuple[str, Slots]

# How requests are chained, by paraphrase: before the first, between, before the last
_CHAINS = (
    ("", ", then ", ", and finally "),
    ("first ", ", after that ", ", and finally "),
    ("first ", ", then ", ", then "),
    ("", ", after that ", ", after that "),
)
_LINK = re.compile(r" (?:and )?(?:then|after that|finally) ")
_LINK_WORDS = {"first", "then", "after", "finally"}


def word_instruction(
    form: str, slots: Slots, rng: np.random.Generator, forms: dict[str, Form] = FORMS
) -> str:
    """One paraphrase of an instruction."""
    templates = forms[form].templates
    return templates[int(rng.integers(len(templates)))].format(**slots)


def word_chain(requests: list[Request], rng: np.random.Generator, forms: dict[str, Form] = FORMS) -> str:
    """Several requests as one instruction."""
    start, between, last = _CHAINS[int(rng.integers(len(_CHAINS)))]
    clauses = []
    for form, slots in requests:
        plain = [t for t in forms[form].templates if not _LINK_WORDS & set(normal(t).split())]
        clauses.append(plain[int(rng.integers(len(plain)))].format(**slots))
    return start + between.join(clauses[:-1]) + last + clauses[-1]


def goal_of(form: str, slots: Slots, scene: Scene | None = None) -> Goal:
    """What a form with these slots asks for. ValueError: it depends on the scene; give it."""
    return MEANINGS[form].goal_of(slots, scene)


def chain_goal(goals: list[Goal]) -> Goal:
    """All of several goals at once; what is done last is last. Only the end counts."""
    facts = tuple(fact for goal in goals for fact in goal.facts)
    return Goal(facts, tuple(name for goal in goals for name in goal.exclusive))


def parse_instruction(text: str, scene: Scene) -> Goal | None:
    """The goal that an instruction asks for in this scene, or None when it is not understood."""
    goal = _parse_one(text, scene)
    if goal is not None:
        return goal
    words = normal(text).removeprefix("first ")
    goals = [_parse_one(clause, scene) for clause in _LINK.split(words)]
    if len(goals) < 2 or any(goal is None or goal.stages for goal in goals):
        return None
    chained = chain_goal([goal for goal in goals if goal is not None])
    return chained if _goal_fits(chained, scene) else None


def _parse_one(text: str, scene: Scene) -> Goal | None:
    names = {item.name for item in scene.items} | {r.name for r in scene.receptacles}
    names |= {button.name for button in scene.buttons}
    for form in _READABLE:
        for template in form.templates:
            slots = match(template, text)
            if slots is None or not set(slots.values()) <= names:
                continue
            goal = form.goal_of(slots, scene)
            if _goal_fits(goal, scene):
                return goal
    return None


def _goal_fits(goal: Goal, scene: Scene) -> bool:
    """Something is asked, of distinct things, each put where such a thing can be."""
    if not goal.facts and not goal.exclusive:
        return False
    if not all(scene.receptacle(name) is not None for name in goal.exclusive):
        return False
    return all(_facts_fit(goal.at(stage), scene) for stage in range(len(goal.stages) + 1))


def _facts_fit(goal: Goal, scene: Scene) -> bool:
    objects = {item.name for item in scene.items}
    moved = [fact.object for fact in goal.facts]
    if len(set(moved)) != len(moved):
        return False
    for fact in goal.facts:
        receptacle = scene.receptacle(fact.object)
        if fact.relation in ("open", "closed"):
            fits = receptacle is not None and receptacle.opens
        elif fact.relation in ("lit", "dark"):
            fits = fact.object in {button.name for button in scene.buttons}
        else:
            names = names_in(fact.target)
            fits = fact.object in objects and fact.object not in names
            if fact.relation == "in":
                fits = fits and scene.receptacle(fact.target) is not None
            elif fact.relation in SPATIAL or len(names) == 2:
                fits = fits and set(names) <= objects and len(set(names)) == len(names)
            else:
                fits = fits and fact.target in objects | {TABLE}
        if not fits:
            return False
    return True
