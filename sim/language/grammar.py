"""What a sentence form is, and how templates and text are matched. Knows no form and no scene."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from sim.scene import TABLE, Fact, Goal, Scene, names_in, pair

Slots = dict[str, str]


@dataclass(frozen=True)
class Form:
    """One way to ask: paraphrases over the same slots, and what they ask for.

    Facts name slots ("a", or "a and b" for a pair) or stand for themselves ("table").
    """

    templates: tuple[str, ...]
    facts: tuple[Fact, ...] = ()
    # what must have been true before, in order; see Goal
    stages: tuple[tuple[Fact, ...], ...] = ()
    # computes the goal where it depends on what the scene holds
    goal: Callable[[Scene, Slots], Goal] | None = None

    def goal_of(self, slots: Slots, scene: Scene | None) -> Goal:
        """What the form asks for with these slots. ValueError: it depends on the scene; KeyError
        or StopIteration never come from slots that the templates have.
        """
        if self.goal is not None:
            if scene is None:
                raise ValueError("this goal depends on the scene; give it")
            return self.goal(scene, slots)
        stages = tuple(_fill(facts, slots) for facts in self.stages)
        return Goal(_fill(self.facts, slots), (), stages)


def _fill(facts: tuple[Fact, ...], slots: Slots) -> tuple[Fact, ...]:
    return tuple(Fact(slots.get(f.object, f.object), f.relation, _target(f.target, slots)) for f in facts)


def _target(target: str, slots: Slots) -> str:
    names = [slots.get(name, name) for name in names_in(target)]
    return pair(*names) if len(names) == 2 else names[0]


def on_table(*names: str) -> tuple[Fact, ...]:
    """Facts: each on the table."""
    return tuple(Fact(name, "on", TABLE) for name in names)


def normal(text: str) -> str:
    """Lower case, single blanks, no punctuation, no leading "please"."""
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

    return re.compile(re.sub(r"\{(\w+)\}", group, normal(template)))


def match(template: str, text: str) -> Slots | None:
    """The slots with which the template gives the text, or None."""
    found = _pattern(template).fullmatch(normal(text))
    return found.groupdict() if found else None
