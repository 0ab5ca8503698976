"""A picture from words: things with colours and counts on a table, and relations between them.

Question: a sentence or more of sim/language/lessons/t2i.py; no picture.
Randomisation: 1 to 3 groups of blocks or cylinders of 1 to 3, each of its own colour, in half of the
lessons a tray, box, bowl or zone; up to two relations between single things; places, sizes, light, table
and cameras.
Answer: one picture. Its words are true of it, and can be read in it (grade.py): draws of which that
cannot be said are drawn again.
"""

from dataclasses import asdict, replace

import numpy as np

from sim.camera import draw_look
from sim.language.lessons import t2i as words
from sim.language.lessons.t2i import Group, Wish
from sim.layout import Layout, NoRoomError
from sim.lessons import reading, tables
from sim.lessons.lesson import PICTURE, Lesson, Part, shown
from sim.scene import Fact, Item, Scene
from sim.state import satisfied
from sim.world import World

TASK = "t2i"
_MOST = 6  # items
_COUNTS = (1, 1, 1, 2, 2, 3)
_RELATIONS = ("left_of", "right_of", "in_front_of", "behind", "on")


def draw(world: World, rng: np.random.Generator, seed: int) -> Lesson:
    """Draw a lesson. NoRoomError: draw again."""
    scene, wish = _draw_scene(rng, seed)
    world.build(scene)
    picture, truth = shown(world)
    if not all(satisfied(truth.state, fact) for fact in wish.facts):
        raise NoRoomError
    if not all(reading.check(picture, wish).values()):
        raise NoRoomError
    instruction = words.word(wish, rng)
    asked = {
        "groups": [asdict(group) for group in wish.groups],
        "facts": [asdict(fact) for fact in wish.facts],
    }
    return Lesson(
        TASK, seed, scene.robot, instruction, 0, (Part(PICTURE),), (picture,), (truth,), asked, (scene,)
    )


def _draw_scene(rng: np.random.Generator, seed: int) -> tuple[Scene, Wish]:
    layout = Layout(rng)
    colours = layout.colours(7)
    container = tables.draw_container(layout, colours.pop()) if rng.random() < 0.5 else None
    groups, items = [], 0
    for colour in colours[: int(rng.integers(1, 4))]:
        group = Group(min(int(rng.choice(_COUNTS)), _MOST - items), colour, layout.kind())
        items += group.count
        groups.append(group)
    singles = [f"{g.colour} {g.kind}" for g in groups if g.count == 1]
    facts = _draw_facts(rng, singles, container.name if container else "")
    put_later = [fact.object for fact in facts]
    for group in groups:
        for _ in range(group.count):
            if f"{group.colour} {group.kind}" not in put_later:
                layout.item(group.kind, group.colour)
    scene = _numbered(tables.scene_of(layout, draw_look(rng), TASK, seed))
    for fact in facts:
        colour, kind = fact.object.split(" ")
        item = tables.new_item(kind, colour, rng)
        scene = tables.with_item(scene, tables.put(scene, item, fact.relation, fact.target, rng))
    if container is not None:
        groups.append(Group(1, container.colour, container.kind))
    order = [groups[int(index)] for index in rng.permutation(len(groups))]
    return scene, Wish(tuple(order), facts)


def _draw_facts(rng: np.random.Generator, singles: list[str], container: str) -> tuple[Fact, ...]:
    """Up to two facts; each moves another thing, to one that stands already."""
    facts: list[Fact] = []
    if len(singles) > 1 and rng.random() < 0.75:
        facts.append(Fact(singles[1], str(rng.choice(_RELATIONS)), singles[0]))
    last = singles[-1] if singles else ""
    if container and last and last not in {f.object for f in facts} | {f.target for f in facts}:
        if rng.random() < 0.7:
            facts.append(Fact(last, "in", container))
    elif len(singles) > 2 and rng.random() < 0.5:
        facts.append(Fact(singles[2], str(rng.choice(_RELATIONS[:4])), singles[0]))
    return tuple(facts)


def _numbered(scene: Scene) -> Scene:
    """Things of one colour and kind get names of their own: bodies are known by name."""
    seen: dict[str, int] = {}
    items: list[Item] = []
    for item in scene.items:
        seen[item.name] = seen.get(item.name, 0) + 1
        number = seen[item.name]
        items.append(item if number == 1 else replace(item, name=f"{item.name} {number}"))
    return replace(scene, items=tuple(items))
