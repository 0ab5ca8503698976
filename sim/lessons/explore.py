"""A walk around a table: 40 to 48 camera commands, a picture after each, back at the start in the end.

Question: the commands, or only how many steps there are (a free walk, whose words the answer chooses); in
three lessons of four with a picture from the start, else with the things in words and no picture.
Randomisation: 2 to 4 items of different colours, in two lessons of three a container, sometimes with
something in it; places, sizes, light, table; the walk: turns of 15 to 90 degrees, nearer, farther, up, down.
Answer: for each step the command and the picture, nothing on the table ever moves. Without a picture in the
question the first picture is that from the start. The poses of the cameras are part of the truth (rig.py).
"""

import numpy as np

from sim.camera import draw_look
from sim.language.lessons import explore as words
from sim.language.lessons.explore import Command
from sim.layout import Layout, NoRoomError
from sim.lessons import look, tables
from sim.lessons.lesson import PICTURE, WORDS, Lesson, Part, shown
from sim.lessons.rig import STEPS, Rig
from sim.world import World

TASK = "explore"
_STEPS = (40, 48)
_FREE, _BLIND = 0.5, 0.25  # shares
_TURNS = (15, 30, 45, 60, 90)
_KEEP_ON = 0.6  # chance that a turn has the direction of the last one


def draw(world: World, rng: np.random.Generator, seed: int) -> Lesson:
    """Draw a lesson. NoRoomError: draw again."""
    layout = Layout(rng)
    colours = layout.colours(7)
    if rng.random() < 0.67:
        container = tables.draw_container(layout, colours.pop())
        if rng.random() < 0.4:
            layout.item_in(layout.kind(), colours.pop(), container, 0)
    tables.draw_items(layout, int(rng.integers(2, 4)), colours)
    scene = world.build(tables.scene_of(layout, draw_look(rng), TASK, seed))
    commands = draw_walk(rng, int(rng.integers(_STEPS[0], _STEPS[1] + 1)))
    free, blind = rng.random() < _FREE, rng.random() < _BLIND
    said = [words.word(command, int(rng.integers(1000))) for command in commands]
    taken = [shown(world)]
    colours_there = {i.colour for i in scene.items} | {r.colour for r in scene.receptacles}
    if set(look.colours_in(taken[0][0])) != colours_there:
        raise NoRoomError
    rig = Rig()
    for command in commands:
        rig = rig.after(command)
        taken.append(shown(world, rig.views(scene.look.views)))
    parts = [] if not blind else [Part(WORDS, "This is the start."), Part(PICTURE)]
    for text in said:
        parts += [Part(WORDS, f"{text[0].upper()}{text[1:]}."), Part(PICTURE)]
    seen = [(i.colour, i.kind) for i in scene.items] + [(r.colour, r.kind) for r in scene.receptacles]
    question = words.word_question(said, rng, free=free, seen=seen if blind else None)
    return Lesson(
        TASK, seed, scene.robot, question, int(not blind), tuple(parts),
        tuple(picture for picture, _ in taken), tuple(truth for _, truth in taken),
        {"commands": [[c.move, c.degrees] for c in commands], "free": bool(free)}, (scene,),
    )  # fmt: skip


def draw_walk(rng: np.random.Generator, steps: int) -> list[Command]:
    """So many commands that lead back to where they began."""
    commands: list[Command] = []
    rig, side = Rig(), "left"
    while len(commands) + len(back := way_back(rig)) < steps:
        kind = rng.random()
        if kind < 0.7:
            if rng.random() > _KEEP_ON:
                side = "right" if side == "left" else "left"
            command = Command(side, int(rng.choice(_TURNS)))
        else:
            command = Command(str(rng.choice(["nearer", "farther", "up", "down"])))
            if not _possible(rig, command):
                continue
        if len(commands) + 1 + len(way_back(rig.after(command))) > steps:
            raise NoRoomError
        commands.append(command)
        rig = rig.after(command)
    return commands + back


def way_back(rig: Rig) -> list[Command]:
    """The shortest commands to the start."""
    left = rig.heading <= 180
    rest = rig.heading if left else 360 - rig.heading
    turns = []
    for degrees in reversed(_TURNS):
        while rest >= degrees:
            turns.append(Command("left" if left else "right", degrees))
            rest -= degrees
    along = [Command("nearer" if rig.distance > 0 else "farther")] * abs(rig.distance)
    up = [Command("down" if rig.height > 0 else "up")] * abs(rig.height)
    return turns + along + up


def _possible(rig: Rig, command: Command) -> bool:
    steps = {"nearer": rig.distance - 1, "farther": rig.distance + 1, "up": rig.height + 1}
    return STEPS[0] <= steps.get(command.move, rig.height - 1) <= STEPS[1]
