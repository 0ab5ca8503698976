"""An illustrated guide: how a robot's task is done, step by step.

Question: a picture, an instruction of any task family in a frame of words; in half of the lessons with the
number of steps, in the published words.
Randomisation: a family at random, then that of the family.
Answer: a thought (how things are, what has to be done), then for each step its words, a thought of what its
picture shows, and the picture. A step is over when nothing is held: what is picked up is put down in the
same step. 1 to 10 steps.
"""

import numpy as np

from sim import language, robots
from sim.language.lessons import howto as words
from sim.layout import NoRoomError
from sim.lessons.lesson import IMAGE_THOUGHT, PICTURE, THOUGHT, WORDS, Lesson, Part, shown
from sim.lessons.stepping import set_skill
from sim.oracle import next_skill
from sim.scene import Skill
from sim.tasks import FAMILIES, make_scene
from sim.world import World

TASK = "howto"
_MOST = 10  # steps, as published
_COUNTED = 0.5  # share of questions that say how many


def draw(world: World, rng: np.random.Generator, seed: int) -> Lesson:
    """Draw a lesson. NoRoomError: draw again."""
    family = str(rng.choice(list(FAMILIES)))
    scene = make_scene(family, seed, robots.DEFAULT)
    world.build(scene)
    paraphrase = int(rng.integers(1000))
    taken = [shown(world)]
    steps: list[Skill] = []
    while (skill := next_skill(world.goal, world.state())) is not None:
        set_skill(world, skill)
        if skill.verb == "pick":
            continue
        if len(steps) == _MOST:
            raise NoRoomError
        steps.append(skill)
        taken.append(shown(world))
    if not steps or not all(world.success().values()):
        raise NoRoomError
    states = [truth.state for _, truth in taken]
    told = [language.word_skill(skill, scene, paraphrase + index) for index, skill in enumerate(steps)]
    parts = [Part(THOUGHT, words.think(states[0], told))]
    for index, skill in enumerate(steps):
        parts += [
            Part(WORDS, words.word_step(index + 1, skill, scene, paraphrase + index)),
            Part(IMAGE_THOUGHT, words.think_picture(states[index], states[index + 1])),
            Part(PICTURE),
        ]
    count = len(steps) if rng.random() < _COUNTED else None
    return Lesson(
        TASK, seed, scene.robot, words.word_question(scene.instruction, rng, count), 1, tuple(parts),
        tuple(picture for picture, _ in taken), tuple(truth for _, truth in taken),
        {"family": family, "skills": [_list(skill) for skill in steps]}, (scene,),
    )  # fmt: skip


def _list(skill: Skill) -> list[str]:
    return [skill.verb, skill.object, skill.target, skill.relation]
