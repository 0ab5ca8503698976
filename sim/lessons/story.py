"""A picture story of 5 to 12 panels about the same actors, in one place and light.

Question: who is in it and how many panels; in half of the lessons with a picture of them.
Randomisation: 2 to 4 actors (blocks and cylinders of different colours), in two lessons of three a tray, box,
bowl or zone; places, sizes, light, table and cameras; what happens.
Answer: for each panel its words and its picture. The first tells who there is; in each later one an actor
goes somewhere, and in the last one, where the story allows it, home.
"""

import numpy as np

from sim.camera import draw_look
from sim.language.lessons import story as words
from sim.layout import Layout, NoRoomError
from sim.lessons import tables
from sim.lessons.lesson import PICTURE, WORDS, Lesson, Part, shown
from sim.lessons.stepping import insist_on_rest, may_go_home, set_skill
from sim.relations import DIRECTIONS
from sim.scene import Pose, Skill
from sim.skills import legal
from sim.world import World

TASK = "story"
_PANELS = (5, 12)
_SEEN = 0.5  # share of questions with a picture


def draw(world: World, rng: np.random.Generator, seed: int) -> Lesson:
    """Draw a lesson. NoRoomError: draw again."""
    layout = Layout(rng)
    colours = layout.colours(7)
    if rng.random() < 0.67:
        tables.draw_container(layout, colours.pop())
    tables.draw_items(layout, int(rng.integers(2, 5)), colours)
    scene = world.build(tables.scene_of(layout, draw_look(rng), TASK, seed, tuple(DIRECTIONS)))
    begin = {item.name: world.pose(item.name) for item in scene.items}
    panels = int(rng.integers(_PANELS[0], _PANELS[1] + 1))
    taken = [shown(world)]
    parts = [Part(WORDS, words.word_opening(scene, rng)), Part(PICTURE)]
    moves: list[list[str]] = []
    last = ""
    for index in range(1, panels):
        skill, home = None, index == panels - 1
        if home:
            skill = _go_home(world, begin)
        if skill is None:
            home, skill = False, _move(world, rng, last)
        insist_on_rest(world.state())
        last = skill.object
        moves.append([skill.verb, skill.object, skill.target, skill.relation, "home" if home else ""])
        parts += [Part(WORDS, words.word_move(skill, scene, rng, home=home)), Part(PICTURE)]
        taken.append(shown(world))
    references = int(rng.random() < _SEEN)
    if references:
        taken.insert(0, taken[0])
    return Lesson(
        TASK, seed, scene.robot, words.word_question(scene, panels, rng), references, tuple(parts),
        tuple(picture for picture, _ in taken), tuple(truth for _, truth in taken), {"moves": moves},
        (scene,),
    )  # fmt: skip


def _move(world: World, rng: np.random.Generator, last: str) -> Skill:
    """Let another actor than the last go somewhere; each kind of place has the same chance."""
    names = [skill.object for skill in legal(world) if skill.object != last]
    if not names:
        raise NoRoomError
    name = names[int(rng.integers(len(names)))]
    before = world.state().of(name)
    set_skill(world, Skill("pick", name))
    options = [s for s in legal(world) if s.relation or (s.target != before.target)]
    kinds = sorted({_kind(world, skill) for skill in options})
    if not kinds:
        raise NoRoomError
    kind = kinds[int(rng.integers(len(kinds)))]
    options = [skill for skill in options if _kind(world, skill) == kind]
    skill = options[int(rng.integers(len(options)))]
    set_skill(world, skill)
    return skill


def _kind(world: World, skill: Skill) -> str:
    if skill.relation:
        return "related"
    if world.scene.receptacle(skill.target) is not None:
        return "in"
    return skill.target if skill.target == "table" else "on"


def _go_home(world: World, begin: dict[str, Pose]) -> Skill | None:
    """Put one actor back to where it stood at first; None: all are there, or cannot."""
    for name, home in begin.items():
        if may_go_home(world, name, begin):
            world.pose_state({name: home})
            return Skill("place", name, "table")
    return None
