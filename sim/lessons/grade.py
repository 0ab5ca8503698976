"""How good is an answer to a lesson's question? Measured in its pictures, against exact truth.

    t2i      objects, colours, counts, relations: read in the picture alone (reading.py)
    x2i      the edit, against edits that were not asked for (edits.py); PSNR of all else
    howto    each step's picture, against everything that could happen there (replays.py); the goal
    story    each panel the same way, against what its own words tell
    explore  where things are in each picture, in px, for the commands given or the walk's own words

A lesson is made again from its task and seed; the answer comes as pictures and, where it has words of its
own, one text for each of them. Knows no model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sim.language.lessons import explore as walks
from sim.language.lessons.explore import Command
from sim.language.lessons.t2i import Group, Wish
from sim.lessons import edits, look, reading, replays
from sim.lessons.lesson import Lesson, Picture, shown
from sim.lessons.rig import Rig
from sim.scene import Fact
from sim.world import World

# dB: an edit keeps the background from here on
BACKGROUND_DB = 30.0
# px of 256: a walk keeps its world below that
POSITION_PX = 10.0
# px that a thing must show in the true picture to be looked for: half of a thing that all of is seen
_SHOWN_PX = 60


@dataclass(frozen=True)
class Grade:
    """Named conditions and figures; the answer is right when all conditions hold."""

    passed: Mapping[str, bool]
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether all conditions hold."""
        return all(self.passed.values())


def grade(
    world: World,
    lesson: Lesson,
    pictures: Sequence[Picture],
    texts: Sequence[str] = (),
    seen: Picture | None = None,
) -> Grade:
    """Grade an answer. The world is rebuilt.

    Args:
        world: any; its scene is lost.
        pictures: of the answer, [192, 384, 3] uint8 each.
        texts: the words before each picture; needed where they say what it shows: story, howto, a free
            explore. Without them the lesson's own words are taken.
        seen: x2i: the picture that was edited, as the painter's tokenizer gives it back; default: the
            true one.

    Raises:
        ValueError: no picture; a picture of another size; a story or a walk without a picture in its
            question: where things stand in it is the painter's choice, so no truth is known.
    """
    if not pictures:
        raise ValueError("an answer without pictures; expected one or more")
    for picture in pictures:
        if picture.shape != lesson.pictures[0].shape:
            raise ValueError(f"a picture of shape {picture.shape}; expected {lesson.pictures[0].shape}")
    if lesson.task in ("t2i", "x2i") and len(pictures) > 1:
        raise ValueError(f"{len(pictures)} pictures; {lesson.task} is answered with one")
    if lesson.task in ("story", "explore") and not lesson.references:
        raise ValueError(f"this {lesson.task} has no picture in its question; where things are is not known")
    if lesson.task == "t2i":
        return Grade(reading.check(pictures[0], wish_of(lesson)))
    if lesson.task == "x2i":
        right, decibel = edits.judge(world, lesson, pictures[0], seen)
        return Grade({"edit": right, "background": decibel >= BACKGROUND_DB}, {"background_db": decibel})
    if lesson.task == "explore":
        return _walk(world, lesson, pictures, texts)
    replay = replays.howto if lesson.task == "howto" else replays.story
    passed, share = replay(world, lesson, pictures, texts)
    return Grade(passed, {"pictures": share})


def wish_of(lesson: Lesson) -> Wish:
    """What a t2i lesson asks for."""
    groups = tuple(Group(**group) for group in lesson.asked["groups"])
    return Wish(groups, tuple(Fact(**fact) for fact in lesson.asked["facts"]))


def _walk(world: World, lesson: Lesson, pictures: Sequence[Picture], texts: Sequence[str]) -> Grade:
    """Where things are after each command, and at the end, back at the start."""
    told = [Command(move, degrees) for move, degrees in lesson.asked["commands"]]
    said = [walks.parse(text) for text in texts]
    obeyed = not texts or lesson.asked["free"] or said == told
    if texts and lesson.asked["free"]:
        told = [command for command in said if command is not None]
    understood = len(told) == len(lesson.asked["commands"]) and None not in said
    scene = world.build(lesson.scenes[0])
    rig, errors = Rig(), []
    for command, picture in zip(told, pictures, strict=False):
        try:
            rig = rig.after(command)
        except ValueError:
            understood = False
            break
        true, _ = shown(world, rig.views(scene.look.views))
        errors.append(position_errors(true, picture))
    whole = len(errors) == len(pictures) == len(lesson.asked["commands"])
    end = errors[-1] if whole else [math.inf]
    every = [error for step in errors for error in step] or [math.inf]
    return Grade(
        {
            "words": understood and obeyed,
            "returned": rig == Rig(),
            "positions": float(np.median(end)) < POSITION_PX,
            "all there": whole and all(math.isfinite(error) for error in end),
        },
        {
            "end_px": float(np.median(end)),
            "median_px": float(np.median(every)),
            "lost": float(np.mean([not math.isfinite(error) for error in every])),
        },
    )


def position_errors(true: Picture, picture: Picture) -> list[float]:
    """For each thing and view how far its middle is from where it should be, px of 256; inf: not there.

    Things have different colours; one of which the true picture shows only a corner is left out.
    """
    errors = []
    pairs = zip(look.split(look.paint_of(true)), look.split(look.paint_of(picture)), strict=True)
    for there, here in pairs:
        scale = 256 / there.shape[1]
        for colour in look.COLOURS:
            expected, found = look.whole(there, colour), look.whole(here, colour)
            if expected is None or expected.area < _SHOWN_PX:
                continue
            apart = math.inf if found is None else math.dist(expected.centre, found.centre)
            errors.append(scale * apart)
    return errors
