"""Hand-written rules that make bad plans, each with the verdict that it must get; writes bad_plans.json.

    python -m tests.sim.bench.bad_plans        writes tests/data/bad_plans.json anew

A plan is words and recipes of pictures; `draw` makes a picture of a recipe in the simulator. A verdict
is a range for some metrics, stated by the rule from what it does, never from what the scorer says.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import language
from sim.bench.suite import SceneName
from sim.bench.trail import Trail
from sim.scene import BENCHMARK_FIRST_SEED, Skill
from sim.world import World

FILE = Path(__file__).parents[2] / "data" / "bad_plans.json"
# two steps for the oracle, and objects that the task does not name
SCENES = (
    SceneName("container", BENCHMARK_FIRST_SEED + 3),
    SceneName("stack", BENCHMARK_FIRST_SEED + 4),
    SceneName("zone", BENCHMARK_FIRST_SEED + 3),
    SceneName("stack", BENCHMARK_FIRST_SEED + 8),
)
Range = tuple[float, float]
ZERO, ONE, HALF = (0.0, 0.0), (0.999, 1.0), (0.499, 0.501)
SOME = (0.01, 0.99)
# nothing of a picture counts
NO_PICTURE = {
    "configuration": ZERO,
    "permanence": ZERO,
    "background": ZERO,
    "feasible": ZERO,
    "agreement": ZERO,
}
NO_WORDS = {"valid": ZERO, "executable": ZERO, "progress_open": ZERO, "success_open": ZERO, "score": ZERO}
GOOD_WORDS = {"valid": ONE, "executable": ONE, "progress_open": ONE, "success_open": ONE}


@dataclass(frozen=True)
class Facts:
    """What rules may use of a scene: the right words, the thing moved and its place, another thing."""

    first: str
    second: str
    thing: str
    place: str
    other: str
    instruction: str


@dataclass(frozen=True)
class Rule:
    """Steps (words, recipe) of a scene, and the verdict."""

    steps: Callable[[Facts], list[tuple[str, str]]]
    expect: dict[str, Range]


def _right(first: str, second: str) -> Callable[[Facts], list[tuple[str, str]]]:
    """The right words with these pictures."""
    return lambda f: [(f.first, first.format(**vars(f))), (f.second, second.format(**vars(f)))]


def _words(*words: str) -> Callable[[Facts], list[tuple[str, str]]]:
    """These words; pictures of the right plan, as far as there are any."""
    return lambda f: [(text.format(**vars(f)), f"real {min(i + 1, 2)}") for i, text in enumerate(words)]


RULES: dict[str, Rule] = {
    # plans that are right, so that the others are not only refused because all are
    "the right plan": Rule(
        _right("real 1", "real 2"), {**GOOD_WORDS, "agreement": ONE, "score": (0.97, 1.0)}
    ),
    "the right plan in capitals": Rule(
        lambda f: [(f.first.upper() + "!", "real 1"), (f"Please, {f.second}.", "real 2")],
        {**GOOD_WORDS, "agreement": ONE, "score": (0.97, 1.0)},
    ),
    # words
    "no steps": Rule(lambda _: [], {**NO_WORDS, **NO_PICTURE}),
    "only the first step": Rule(
        _words("{first}"),
        {"valid": HALF, "executable": HALF, "agreement": HALF, "progress_open": ZERO, "score": ZERO},
    ),
    "steps in reverse": Rule(_words("{second}", "{first}"), NO_WORDS),
    "only the last step": Rule(_words("{second}"), NO_WORDS),
    "the first step twice": Rule(
        _words("{first}", "{first}"), {"valid": HALF, "progress_open": ZERO, "score": ZERO}
    ),
    "a thing that is not there": Rule(_words("pick up the silver spoon", "{second}"), NO_WORDS),
    "a verb that is no skill": Rule(_words("push the {thing}", "{second}"), NO_WORDS),
    "words that are none": Rule(_words("asdf jkl", "{second}"), NO_WORDS),
    "the task as its own step": Rule(_words("{instruction}", "{instruction}"), NO_WORDS),
    "two skills in one step": Rule(_words("{first} and {second}"), NO_WORDS),
    "a question": Rule(_words("should I {first}?", "{second}"), NO_WORDS),
    "a step that says not to": Rule(_words("do not {first}", "{second}"), NO_WORDS),
    "a number instead of words": Rule(_words("1", "2"), NO_WORDS),
    "the place picked up": Rule(_words("pick up the table", "{second}"), NO_WORDS),
    "placed on itself": Rule(
        _words("{first}", "place the {thing} on the {thing}"),
        {"valid": HALF, "progress_open": ZERO, "score": ZERO},
    ),
    "placed in another thing": Rule(
        _words("{first}", "place the {thing} in the {other}"),
        {"valid": HALF, "progress_open": ZERO, "score": ZERO},
    ),
    "put back on the table": Rule(
        _words("{first}", "place the {thing} on the table"),
        {"valid": ONE, "executable": ONE, "agreement": HALF, "progress_open": ZERO, "score": ZERO},
    ),
    "the other thing, up and down": Rule(
        _words("pick up the {other}", "place the {other} on the table"),
        {"valid": ONE, "executable": ONE, "agreement": ZERO, "progress_open": ZERO, "score": ZERO},
    ),
    "the other thing in the right place": Rule(
        lambda f: [(f"pick up the {f.other}", "real 1"), (f.second, "real 2")],
        {"valid": HALF, "agreement": ZERO, "progress_open": ZERO, "score": ZERO},
    ),
    "a step too many": Rule(
        _words("{first}", "{second}", "{second}"),
        {"valid": (0.66, 0.67), "executable": (0.66, 0.67), "success_open": ZERO},
    ),
    "undone at the end": Rule(
        _words("{first}", "{second}", "pick up the {thing}", "place the {thing} on the table"),
        {"valid": ONE, "executable": ONE, "progress_open": ZERO, "success_open": ZERO, "score": ZERO},
    ),
    # pictures
    "no pictures": Rule(_right("none", "none"), {**GOOD_WORDS, **NO_PICTURE, "score": ZERO}),
    "grey pictures": Rule(
        _right("grey", "grey"),
        {**GOOD_WORDS, "configuration": ZERO, "permanence": ZERO, "agreement": ZERO, "score": ZERO},
    ),
    "noise": Rule(_right("noise", "noise"), {**GOOD_WORDS, **NO_PICTURE, "score": ZERO}),
    "black": Rule(
        _right("black", "black"), {**GOOD_WORDS, "configuration": ZERO, "agreement": ZERO, "score": ZERO}
    ),
    "the picture before": Rule(_right("start", "real 1"), {**GOOD_WORDS, "agreement": ZERO, "score": ZERO}),
    "always the first picture": Rule(
        _right("start", "start"), {**GOOD_WORDS, "agreement": ZERO, "score": ZERO}
    ),
    "always the last picture": Rule(_right("real 2", "real 2"), {**GOOD_WORDS, "agreement": HALF}),
    "pictures in the wrong order": Rule(
        _right("real 2", "real 1"), {**GOOD_WORDS, "agreement": ZERO, "score": ZERO}
    ),
    "the first picture is right": Rule(_right("real 1", "start"), {**GOOD_WORDS, "agreement": HALF}),
    "no last picture": Rule(
        _right("real 1", "none"), {**GOOD_WORDS, "agreement": HALF, "configuration": HALF}
    ),
    "the thing is gone": Rule(
        _right("real 1 without {thing}", "real 2 without {thing}"),
        {
            **GOOD_WORDS,
            "configuration": ZERO,
            "permanence": SOME,
            "agreement": ZERO,
            "feasible": ZERO,
            "score": ZERO,
        },
    ),
    "the other thing is gone at the end": Rule(
        _right("real 1", "real 2 without {other}"),
        {**GOOD_WORDS, "configuration": HALF, "permanence": (0.5, 0.99)},
    ),
    "the thing hangs in the air": Rule(
        _right("real 1", "start with {thing} 6 cm up"),
        {**GOOD_WORDS, "agreement": HALF, "feasible": (0.0, 0.6)},
    ),
    "the other thing is picked": Rule(
        _right("skill pick {other}", "real 2"), {**GOOD_WORDS, "agreement": HALF}
    ),
    "the thing twice": Rule(
        _right("real 1", "real 2 and {thing} at start"), {**GOOD_WORDS, "permanence": (0.5, 0.99)}
    ),
    "upside down": Rule(
        _right("flip real 1", "flip real 2"),
        {**GOOD_WORDS, "agreement": ZERO, "permanence": (0.0, 0.6), "score": ZERO},
    ),
    "colours changed": Rule(
        _right("roll real 1", "roll real 2"),
        {**GOOD_WORDS, "permanence": (0.0, 0.7), "agreement": ZERO, "score": ZERO},
    ),
    "darker by a third": Rule(
        _right("dark real 1", "dark real 2"), {**GOOD_WORDS, "background": (0.0, 0.35)}
    ),
    "brighter by 12 levels": Rule(
        _right("bright real 1", "bright real 2"), {**GOOD_WORDS, "background": (0.4, 0.7)}
    ),
    "moved by 12 px": Rule(
        _right("move real 1", "move real 2"), {**GOOD_WORDS, "agreement": ZERO, "score": ZERO}
    ),
}


def facts_of(trail: Trail) -> Facts:
    """Words and names of a scene; the scene has two steps and a thing that the task does not name."""
    pick, place = trail.needed()
    names = [item.name for item in trail.scene.items if trail.at(()).state.above(item.name) is None]
    other = next(
        n for n in names if n not in (pick.object, place.target) and Skill("pick", n) in trail.at(()).legal
    )
    words = [language.word_skill(skill, trail.scene) for skill in (pick, place)]
    return Facts(words[0], words[1], pick.object, place.target, other, trail.scene.instruction)


def make() -> Iterator[dict[str, Any]]:
    """All plans of all scenes, as they are in the file."""
    with World() as world:
        for name in SCENES:
            with Trail(world, name) as trail:
                facts = facts_of(trail)
                for rule, content in RULES.items():
                    yield {
                        "scene": [name.family, name.seed],
                        "rule": rule,
                        "steps": [list(step) for step in content.steps(facts)],
                        "expect": {metric: list(bounds) for metric, bounds in content.expect.items()},
                    }


def draw(trail: Trail, recipe: str) -> NDArray[np.uint8] | None:
    """The picture of a recipe, [192, 384, 3]; None for "none"."""
    head, _, rest = recipe.partition(" ")
    start = trail.at(()).picture
    plain = {"none": None, "start": start, "grey": np.full_like(start, 128), "black": np.zeros_like(start)}
    if recipe in plain:
        return plain[recipe]
    if recipe == "noise":
        return np.random.default_rng(0).integers(0, 256, start.shape, dtype=np.uint8)
    if head == "skill":
        verb, _, thing = rest.partition(" ")
        return trail.at((Skill(verb, thing),)).picture
    if head in ("start", "real"):
        return _changed(trail, recipe)
    inner = draw(trail, rest)
    assert inner is not None
    edits: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.generic]]] = {
        "flip": lambda p: p[::-1],
        "roll": lambda p: np.roll(p, 1, axis=2),
        "dark": lambda p: p.astype(float) * 2 / 3,
        "bright": lambda p: np.minimum(p.astype(int) + 12, 255),
        "move": lambda p: np.roll(p, 12, axis=1),
    }
    return np.ascontiguousarray(edits[head](inner)).astype(np.uint8)


def _changed(trail: Trail, recipe: str) -> NDArray[np.uint8]:
    """A real picture, with a thing taken away, lifted or doubled."""
    where, change, thing = recipe, "", ""
    for word in (" without ", " with ", " and "):
        if word in recipe:
            where, _, thing = recipe.partition(word)
            change = word.strip()
    count = 0 if where == "start" else int(where.split()[1])
    skills = trail.needed()[:count]
    if not change:
        return trail.at(skills).picture
    if change == "and":
        gone = _changed(trail, f"start without {thing.removesuffix(' at start')}")
        own = np.abs(trail.at(()).picture.astype(int) - gone).max(axis=2, keepdims=True) > 24
        return np.where(own, trail.at(()).picture, trail.at(skills).picture)
    trail.go(skills)
    world = trail.world
    name = thing.removesuffix(" 6 cm up")
    (x, y, z), turn = world.bullet.getBasePositionAndOrientation(world.bodies[name])
    z = z + 0.06 if change == "with" else -5.0
    world.bullet.resetBasePositionAndOrientation(world.bodies[name], (x, y, z), turn)
    picture = world.picture()
    trail.go(skills)
    return picture


if __name__ == "__main__":
    plans = list(make())
    FILE.write_text("[\n" + ",\n".join(json.dumps(plan) for plan in plans) + "\n]\n", encoding="ascii")
    print(f"{len(plans)} plans in {FILE}")
