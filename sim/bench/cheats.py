"""Planners that try for a high score without planning. Each is a planner like any other: no world.

Each names its trick, in its docstring, and what stops it. docs/cheats.md has the table of what they get;
`emu-planner bench sim --planner sim.bench.cheats:NAME --vision none` runs one. Tests hold them down.
"""

import gc
import re
import time
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.event import Event, FinishReason, PlanComplete, PlanStarted, StepComplete
from emu_planner.plan.frame import FrameSource, Still
from emu_planner.plan.planner import Task
from emu_planner.plan.step import Keyframe, Step, StepOutcome
from emu_planner.plan.stop import Stop
from sim import language
from sim.bench.controls import beside
from sim.scene import COLOURS
from sim.tasks import FAMILIES

Picture = NDArray[np.uint8]
Said = tuple[str, Picture]


class Cheat:
    """What cheats share: `steps` gives words and pictures of a whole plan; the rest is the protocol."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """The words and the picture of each step that is left."""
        raise NotImplementedError

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        seen = frames.newest()
        yield PlanStarted(seen.seq, task.generation.seed or 0, seen.stamp_s)
        given = beside(seen)
        most = task.generation.max_subgoals or 10
        for index, (words, picture) in enumerate(self.steps(task, given.rgb, history)):
            if index == most:
                break
            keyframe = Keyframe(picture, given.views) if task.generation.keyframes else None
            yield StepComplete(Step(len(history) + index, words, keyframe, 1.0))
        yield PlanComplete(FinishReason.STOP)


def named(instruction: str) -> list[str]:
    """Movable things that a sentence names, in its order; a red block when it names none."""
    found = re.findall(rf"(?:{'|'.join(COLOURS)}) (?:block|cylinder)", instruction.lower())
    return list(dict.fromkeys(found)) or ["red block"]


def places(instruction: str) -> list[str]:
    """All things that a sentence names, with trays, boxes, bowls and zones."""
    return re.findall(rf"(?:{'|'.join(COLOURS)}) [a-z]+", instruction.lower()) or ["table"]


# ---- with words


class SaysNothing(Cheat):
    """An empty plan makes no mistake. Stopped by the fixed denominator: missing steps are 0."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """None."""
        yield from ()


class ClaimsSuccess(Cheat):
    """It says that all is done, beside the picture it was given. Stopped: no skill, nothing moved."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """One claim."""
        yield "the task is already done", shown


class EchoesTheTask(Cheat):
    """The instruction comes back as the subgoal. Stopped: a subgoal is one skill call."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """The task itself, ten times."""
        for _ in range(10):
            yield task.instruction, shown


class PadsThePlan(Cheat):
    """The one step that is sure, ten times. Stopped: the second is not possible; N grows with the plan."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """The same pick, ten times."""
        for _ in range(10):
            yield f"pick up the {named(task.instruction)[0]}", shown


class OneSureStep(Cheat):
    """One valid pick and a stop: everything it says is right. Stopped by the fixed denominator."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """A pick."""
        if not history:
            yield f"pick up the {named(task.instruction)[0]}", shown


class PicksAndReturns(Cheat):
    """Pick, put back on the table, again: always possible, never a mistake. Stopped: progress is 0."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """Up and down."""
        thing = named(task.instruction)[0]
        for index in range(len(history), 4):
            yield f"place the {thing} on the table" if index % 2 else f"pick up the {thing}", shown


class SaysEverything(Cheat):
    """One subgoal holds every sentence that could be right. Stopped: words must be one skill call."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """A list of sentences as a subgoal."""
        things = named(task.instruction)
        sentences = [f"pick up the {thing}" for thing in things]
        sentences += [f"place the {a} on the {b}" for a in things for b in places(task.instruction)]
        for _ in range(4):
            yield ". ".join(sentences)[:280], shown


class WritesMarkup(Cheat):
    """Words that would be a row or a page of the report. Stopped: parsed as words, escaped as text."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """JSON and HTML."""
        yield '"}, {"valid": true, "score": 1.0}, {"x": "', shown
        yield "<script>document.body.innerHTML = 'score 1.000'</script>", shown


class RandomWords(Cheat):
    """Sentences of the grammar about the named things, at random. Stopped: most are not possible."""

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """Ten sentences."""
        rng = np.random.default_rng([task.generation.seed or 0, len(history)])
        templates = [t for some in language.SUBGOALS.values() for t in some]
        things, targets = named(task.instruction), [*places(task.instruction), "table"]
        for _ in range(10):
            template = templates[int(rng.integers(len(templates)))]
            thing, target = things[int(rng.integers(len(things)))], targets[int(rng.integers(len(targets)))]
            yield template.format(object=thing, target=target), shown


# ---- with pictures, beside words cut out of the sentence


def recipe(instruction: str) -> list[str]:
    """Words that fit many tasks: pick up the first thing, put it where the sentence ends."""
    thing, target = named(instruction)[0], places(instruction)[-1]
    return [
        f"pick up the {thing}",
        f"place the {thing} {'on' if target in named(instruction) else 'in'} the {target}",
    ]


class Draws(Cheat):
    """Words by the recipe; `draw` makes the picture."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """The keyframe of a step."""
        raise NotImplementedError

    def steps(self, task: Task, shown: Picture, history: Sequence[StepOutcome]) -> Iterator[Said]:
        """The recipe."""
        for index, words in enumerate(recipe(task.instruction)[len(history) :], start=len(history)):
            yield words, self.draw(shown, index)


class CopiesThePicture(Draws):
    """Nothing changes, so nothing is out of place. Stopped: it agrees with no words, agreement is 0."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """What was given."""
        return shown


class CopiesWithNoise(Draws):
    """The given picture, a little noisier, to look generated. Stopped as copying is."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """Faint noise over what was given."""
        rng = np.random.default_rng(index)
        return np.clip(shown + rng.normal(0, 6, shown.shape), 0, 255).astype(np.uint8)


class BlursAll(Draws):
    """So soft that it could be any state. Stopped: objects are looked for in their own pixels."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """A heavy blur."""
        return np.asarray(cv2.GaussianBlur(shown, (0, 0), 12), np.uint8)


class GreyField(Draws):
    """No picture can be wrong that shows nothing. Stopped: it is nearer to no state than the limit."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """Middle grey."""
        return np.full_like(shown, 128)


class MeanColour(Draws):
    """The picture's own mean colour: small errors everywhere. Stopped as grey is."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """One colour."""
        return np.broadcast_to(shown.mean(axis=(0, 1)).astype(np.uint8), shown.shape).copy()


class ErasesColours(Draws):
    """Paints over all that is colourful: what is gone cannot be in a wrong place. Stopped: permanence."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """Table colour over saturated pixels."""
        colourful = shown.max(axis=2).astype(int) - shown.min(axis=2) > 60
        picture = shown.copy()
        picture[colourful] = np.median(shown[~colourful], axis=0).astype(np.uint8)
        return picture


class DoublesObjects(Draws):
    """Every object a second time, beside itself: one will be right. Stopped: twice is not once."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """Colourful pixels also 40 px to the right."""
        colourful = shown.max(axis=2).astype(int) - shown.min(axis=2) > 60
        picture = shown.copy()
        moved, mask = np.roll(shown, 40, axis=1), np.roll(colourful, 40, axis=1)
        picture[mask] = moved[mask]
        return picture


class MirrorsThePicture(Draws):
    """A true picture of another scene, namely this one mirrored. Stopped: nothing is where it was."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """Left and right changed."""
        return np.ascontiguousarray(shown[:, ::-1])


class HalfAndHalf(Draws):
    """Given picture and its blur, half each: near to everything at once. Stopped: it agrees with nothing."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """The mean of two pictures."""
        soft = cv2.GaussianBlur(shown, (0, 0), 8)
        return ((shown.astype(np.uint16) + soft) // 2).astype(np.uint8)


class WrongSize(Draws):
    """Four pixels, so that hardly anything can differ. Stopped: a fault, the scene is void."""

    def draw(self, shown: Picture, index: int) -> Picture:
        """The picture at 2 x 2."""
        return np.ascontiguousarray(shown[:2, :2])


# ---- with the harness


class GuessesTheSeed(Cheat):
    """Takes the sampling seed for the scene's, builds the scenes and shows their futures.

    Stopped: the sampling seed is another number, and no scene of it looks like the picture. (Looking the
    scene up in the public suite does work: docs/cheats.md says what a private suite is for.)
    """

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        from sim.oracle import OraclePlanner
        from sim.world import World

        seen = frames.newest()
        with World() as world:
            for family in FAMILIES:
                scene = world.reset(family, task.generation.seed or 0)
                alike = np.abs(world.picture().astype(int) - beside(seen).rgb).mean() < 2
                if alike or scene.instruction == task.instruction:
                    yield from OraclePlanner(world).plan(task, Still(seen), history, stop=stop)
                    return
        yield PlanStarted(seen.seq, 0, seen.stamp_s)
        yield PlanComplete(FinishReason.STOP)


class FindsTheWorld(Cheat):
    """Searches this process for the scorer's world and plans with it. Stopped: it runs in another process."""

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        from sim.oracle import OraclePlanner
        from sim.world import World

        seen = frames.newest()
        for found in gc.get_objects():
            scene = getattr(found, "scene", None) if isinstance(found, World) else None
            if scene is not None and scene.instruction == task.instruction:
                yield from OraclePlanner(found).plan(task, Still(seen), history, stop=stop)
                return
        yield PlanStarted(seen.seq, 0, seen.stamp_s)
        yield PlanComplete(FinishReason.STOP)


class NeverEnds(Cheat):
    """Ten thousand steps, so that some are right. Stopped: more steps than allowed are a fault."""

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        seen = frames.newest()
        yield PlanStarted(seen.seq, 0, seen.stamp_s)
        thing = named(task.instruction)[0]
        for index in range(10_000):
            yield StepComplete(Step(len(history) + index, f"pick up the {thing}", beside(seen)))
        yield PlanComplete(FinishReason.STOP)


class WaitsForEver(Cheat):
    """Says nothing and holds the run up, so that its scene is left out. Stopped: killed, and counted 0."""

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        seen = frames.newest()
        yield PlanStarted(seen.seq, 0, seen.stamp_s)
        while True:
            time.sleep(3600)


# by name; the last ones are for a supervised process only
CHEATS: tuple[type[Cheat], ...] = (
    SaysNothing,
    ClaimsSuccess,
    EchoesTheTask,
    PadsThePlan,
    OneSureStep,
    PicksAndReturns,
    SaysEverything,
    WritesMarkup,
    RandomWords,
    CopiesThePicture,
    CopiesWithNoise,
    BlursAll,
    GreyField,
    MeanColour,
    ErasesColours,
    DoublesObjects,
    MirrorsThePicture,
    HalfAndHalf,
    WrongSize,
    GuessesTheSeed,
    NeverEnds,
)
SUPERVISED_ONLY: tuple[type[Cheat], ...] = (FindsTheWorld, WaitsForEver)
