"""Guides and stories played again: is each picture what could, and by its words should, come next?

As in the benchmark, a picture is read by a library of states that the simulator renders (sim/reading.py):
whatever can be done at that point, nothing, and what is impossible. The nearest must be the one that the
words tell of. Knows lessons and skills.
"""

from collections.abc import Callable, Mapping, Sequence

from sim.language.lessons import howto as guide_words
from sim.language.lessons import story as story_words
from sim.lessons.lesson import Lesson, Picture
from sim.lessons.stepping import may_go_home
from sim.reading import Candidate, library, read_picture
from sim.repertoire import why_illegal
from sim.scene import Pose, Skill
from sim.skills import legal
from sim.world import World

# mean grey levels from the nearest state beyond which a picture shows none, as in the benchmark
_UNREADABLE_LEVEL = 20.0
_HOME = "home"

Put = Callable[[World], None]


def howto(
    world: World, lesson: Lesson, pictures: Sequence[Picture], texts: Sequence[str]
) -> tuple[dict[str, bool], float]:
    """Conditions of a guide: its words, its pictures, that it leads to the goal; share of right pictures.

    Args:
        texts: of the steps, one a picture; empty: the lesson's own.
    """
    scene = world.build(lesson.scenes[0])
    if texts:
        parsed = [guide_words.parse_step(text, scene) for text in texts]
        skills = [step[1] if step is not None else None for step in parsed]
    else:
        skills = [Skill(*skill) for skill in lesson.asked["skills"]]
    right = []
    for skill, picture in zip(skills, pictures, strict=False):
        if skill is None or not _can(world, skill):
            break
        right.append(_shows(world, picture, str(skill), _doing(skill)))
        _do(world, skill)
    understood = len(right) == len(skills) == len(pictures)
    wanted = guide_words.parse_question(lesson.instruction, scene)
    passed = {
        "steps": wanted is None or wanted[1] in (None, len(pictures)),
        "words": understood,
        "pictures": understood and all(right),
        "goal": understood and all(world.success().values()),
    }
    return passed, sum(right) / len(pictures)


def story(
    world: World, lesson: Lesson, pictures: Sequence[Picture], texts: Sequence[str]
) -> tuple[dict[str, bool], float]:
    """Conditions of a story: as many panels as asked for, words that can be, pictures that show them.

    Args:
        texts: of the panels, one a picture; empty: the lesson's own. The first tells who there is.
    """
    scene = world.build(lesson.scenes[0])
    begin = {item.name: world.pose(item.name) for item in scene.items}
    if texts:
        moves = [story_words.parse_move(text, scene) for text in texts[1:]]
    else:
        moves = [(Skill(*move[:4]), move[4] == _HOME) for move in lesson.asked["moves"]]
    first = read_picture(pictures[0], library(world))
    right = [first.best.name == "nothing happens" and first.distance <= _UNREADABLE_LEVEL]
    for move, picture in zip(moves, pictures[1:], strict=False):
        if move is None or not _can_move(world, move[0], begin, home=move[1]):
            break
        skill, home = move
        put = _home(skill.object, begin[skill.object]) if home else _doing(skill)
        right.append(_shows(world, picture, _HOME if home else str(skill), put))
        put(world)
    told = len(right) == len(moves) + 1 == len(pictures)
    panels = len(lesson.asked["moves"]) + 1
    passed = {"panels": len(pictures) == panels, "words": told, "pictures": told and all(right)}
    return passed, sum(right) / len(pictures)


def _shows(world: World, picture: Picture, name: str, put: Put) -> bool:
    """Whether a picture is read as the state that `put` makes of the present one. The world is restored."""
    snapshot = world.snapshot()
    put(world)
    after = world.picture()
    world.restore(snapshot)
    candidates = [c for c in library(world) if c.name != name]
    for skill in legal(world):
        if skill.verb == "pick":
            candidates += _places(world, skill, name)
    world.restore(snapshot)
    world.forget(snapshot)
    # what looks like the truth is no other state
    candidates = [c for c in candidates if (c.picture != after).any()]
    truth = Candidate(name, None, True, after)
    reading = read_picture(picture, [truth, *candidates])
    return reading.best is truth and reading.distance <= _UNREADABLE_LEVEL


def _places(world: World, pick: Skill, name: str) -> list[Candidate]:
    """Where an object that is picked up can be put down."""
    start = world.snapshot()
    world.imagine(pick)
    held = world.snapshot()
    candidates = []
    for place in legal(world):
        if str(place) == name:
            continue
        world.imagine(place)
        candidates.append(Candidate(str(place), None, True, world.picture()))
        world.restore(held)
    world.restore(start)
    world.forget(held)
    world.forget(start)
    return candidates


def _can(world: World, skill: Skill) -> bool:
    """Whether a step can be done now; a place begins with its pick. The world is restored."""
    if skill.verb != "place":
        return skill.verb != "pick" and why_illegal(world, skill) is None
    pick = Skill("pick", skill.object)
    if why_illegal(world, pick) is not None:
        return False
    snapshot = world.snapshot()
    world.imagine(pick)
    possible = why_illegal(world, skill) is None
    world.restore(snapshot)
    world.forget(snapshot)
    return possible


def _can_move(world: World, skill: Skill, begin: Mapping[str, Pose], *, home: bool) -> bool:
    if not home:
        return _can(world, skill)
    return why_illegal(world, Skill("pick", skill.object)) is None and may_go_home(world, skill.object, begin)


def _do(world: World, skill: Skill) -> None:
    if skill.verb == "place":
        world.imagine(Skill("pick", skill.object))
    world.imagine(skill)


def _doing(skill: Skill) -> Put:
    return lambda world: _do(world, skill)


def _home(name: str, pose: Pose) -> Put:
    return lambda world: world.pose_state({name: pose})
