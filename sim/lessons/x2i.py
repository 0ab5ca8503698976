"""Edit a picture: recolour, add, remove, move or replace one thing; all else stays as it is.

Question: a picture, a sentence of sim/language/lessons/x2i.py; in two kinds of edits a second picture
shows the new thing, or the new colour.
Randomisation: 2 to 4 items of different colours, in two lessons of three a container, sometimes with
something in it; places, sizes, light, table and cameras.
Answer: the picture afterwards, seen by the same cameras in the same light.
"""

from dataclasses import asdict, replace

import numpy as np

from sim.camera import draw_look
from sim.language.lessons import x2i as words
from sim.language.lessons.x2i import Edit
from sim.layout import KINDS, Layout, NoRoomError
from sim.lessons import tables
from sim.lessons.lesson import PICTURE, Lesson, Part, Picture, Truth, shown
from sim.relations import DIRECTIONS
from sim.scene import COLOURS, Item, Scene
from sim.state import satisfied
from sim.world import World

TASK = "x2i"
_LEAST_PX = 80  # an edit that changes fewer pixels is hidden by something


def draw(world: World, rng: np.random.Generator, seed: int) -> Lesson:
    """Draw a lesson. NoRoomError: draw again."""
    scene = _draw_scene(rng, seed)
    edit = _draw_edit(scene, rng)
    after = apply(scene, edit, rng)
    scenes = (scene, _alone(scene, edit, rng), after) if edit.seen else (scene, after)
    pictures = [_take(world, each) for each in scenes]
    changed = np.abs(pictures[0][0].astype(np.int16) - pictures[-1][0]).max(axis=2) > 24
    if changed.sum() < _LEAST_PX or not _is_true(edit, pictures[-1][1]):
        raise NoRoomError
    return Lesson(
        TASK, seed, scene.robot, words.word(edit, rng), len(scenes) - 1, (Part(PICTURE),),
        tuple(picture for picture, _ in pictures), tuple(truth for _, truth in pictures), asdict(edit),
        scenes,
    )  # fmt: skip


def _draw_scene(rng: np.random.Generator, seed: int) -> Scene:
    layout = Layout(rng)
    colours = layout.colours(7)
    if rng.random() < 0.67:
        container = tables.draw_container(layout, colours.pop())
        if rng.random() < 0.4:
            layout.item_in(layout.kind(), colours.pop(), container, 0)
    tables.draw_items(layout, int(rng.integers(2, 4)), colours)
    return tables.scene_of(layout, draw_look(rng), TASK, seed)


def _draw_edit(scene: Scene, rng: np.random.Generator) -> Edit:
    verb = str(rng.choice(list(words.TEMPLATES)))
    name = scene.items[int(rng.integers(len(scene.items)))].name
    used = {item.colour for item in scene.items} | {r.colour for r in scene.receptacles}
    colour = str(rng.choice([c for c in COLOURS if c not in used]))
    kind = str(rng.choice(KINDS))
    if verb == "remove":
        return Edit(verb, name)
    if verb in ("recolour", "recolour seen"):
        return Edit(verb, name, colour)
    if verb == "replace":
        # another colour, another kind, or both
        own = scene.item(name)
        other = KINDS[1 - KINDS.index(own.kind)]
        options = [f"{own.colour} {other}", f"{colour} {own.kind}", f"{colour} {other}"]
        return Edit(verb, name, str(rng.choice(options)))
    relation, target = _draw_place(scene, "" if verb.startswith("add") else name, rng)
    if verb == "move":
        return Edit(verb, name, "", relation, target)
    return Edit(verb, "", f"{colour} {kind}", relation, target)


def _draw_place(scene: Scene, name: str, rng: np.random.Generator) -> tuple[str, str]:
    """A relation to something else."""
    targets = [item.name for item in scene.items if item.name != name]
    options = [(relation, target) for target in targets for relation in (*DIRECTIONS, "on")]
    # containers are few: as likely as all else together would be too much, as one of many too little
    options += [("in", r.name) for r in scene.receptacles] * 5
    return options[int(rng.integers(len(options)))]


def apply(scene: Scene, edit: Edit, rng: np.random.Generator) -> Scene:
    """The scene after an edit. NoRoomError: it cannot be."""
    verb = edit.verb.removesuffix(" seen")
    if verb == "remove":
        return tables.without(scene, edit.object)
    if verb == "recolour":
        return tables.with_item(scene, _painted(scene.item(edit.object), edit.new), edit.object)
    if verb == "replace":
        colour, kind = edit.new.split(" ")
        new = replace(scene.item(edit.object), kind=kind, colour=colour, name=edit.new)
        return tables.with_item(scene, new, edit.object)
    if verb == "move":
        moved = tables.put(scene, scene.item(edit.object), edit.relation, edit.target, rng)
        return tables.with_item(scene, moved, edit.object)
    colour, kind = edit.new.split(" ")
    item = tables.new_item(kind, colour, rng)
    return tables.with_item(scene, tables.put(scene, item, edit.relation, edit.target, rng))


def _painted(item: Item, colour: str) -> Item:
    return replace(item, colour=colour, name=f"{colour} {item.kind}")


def _alone(scene: Scene, edit: Edit, rng: np.random.Generator) -> Scene:
    """What the second picture shows: one thing on an empty table, in a light of its own."""
    kind = edit.new.partition(" ")[2] or str(rng.choice(KINDS))
    item = tables.new_item(kind, edit.new.split(" ")[0], rng)
    bare = replace(scene, items=(), receptacles=(), look=draw_look(rng))
    return tables.with_item(bare, tables.anywhere(bare, item, rng))


def _take(world: World, scene: Scene) -> tuple[Picture, Truth]:
    world.build(scene)
    return shown(world)


def _is_true(edit: Edit, truth: Truth) -> bool:
    """Whether all stands well afterwards, and where it was asked for."""
    if not all(fact.relation in ("on", "in") for fact in truth.state.where):
        return False
    if not edit.relation:
        return True
    name = edit.object or edit.new
    return any(
        satisfied(truth.state, fact)
        for fact in (*truth.state.where, *truth.state.spatial)
        if (fact.object, fact.relation, fact.target) == (name, edit.relation, edit.target)
    )
