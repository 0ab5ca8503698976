"""Planners that stand beside the one under test in every report. No model.

Each is a wrapper that says what would be scored without this or that part of planning. Those that
know the future (`Known`) get the live world; what they show or say is degraded in one stated way.
A control that derives from the planner under test replays the plan which that one made.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.event import Event, FinishReason, PlanComplete, PlanStarted, StepComplete
from emu_planner.plan.frame import FrameSource, Observation, Still
from emu_planner.plan.planner import Planner, Task
from emu_planner.plan.step import Keyframe, Step, StepOutcome
from emu_planner.plan.stop import Stop
from sim import language
from sim.bench.plans import MOST_SUBGOALS
from sim.bench.trail import Skills, Trail

Picture = NDArray[np.uint8]


def beside(observation: Observation) -> Keyframe:
    """The pictures of an observation as one, as a keyframe."""
    return Keyframe(
        np.concatenate([frame.rgb for frame in observation.frames], axis=1),
        tuple(frame.camera for frame in observation.frames),
    )


@dataclass
class Remember:
    """Another planner, asked once for the same task, picture and history."""

    planner: Planner
    _known: dict[bytes, list[Event]] = field(default_factory=dict, repr=False)

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        shown = frames.newest()
        digest = hashlib.sha256(repr((task, len(history), shown.seq)).encode())
        for frame in shown.frames:
            digest.update(frame.rgb.tobytes())
        key = digest.digest()
        if key not in self._known:
            self._known[key] = list(self.planner.plan(task, Still(shown), history, stop=stop))
        yield from self._known[key]


@dataclass(frozen=True)
class Replay:
    """The same steps whatever is asked and shown; step by step after as much history."""

    steps: tuple[Step, ...]

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,  # noqa: ARG002 - protocol
    ) -> Iterator[Event]:
        """See plan.Planner."""
        shown = frames.newest()
        yield PlanStarted(shown.seq, task.generation.seed or 0, shown.stamp_s)
        left = self.steps[len(history) :]
        for index, step in enumerate(left[: task.generation.max_subgoals or None], start=len(history)):
            keyframe = step.keyframe if task.generation.keyframes else None
            yield StepComplete(replace(step, index=index, keyframe=keyframe))
        yield PlanComplete(FinishReason.STOP)


@dataclass(frozen=True)
class Edited:
    """Another planner whose every step goes through `edit(step, shown)` first."""

    planner: Planner
    edit: Callable[[Step, Observation], Step]

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        shown = frames.newest()
        for event in self.planner.plan(task, Still(shown), history, stop=stop):
            if isinstance(event, StepComplete):
                event = replace(event, step=self.edit(event.step, shown))
            yield event


@dataclass(frozen=True)
class Told:
    """Another planner that is told another sentence."""

    planner: Planner
    instruction: str

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        yield from self.planner.plan(replace(task, instruction=self.instruction), frames, history, stop=stop)


@dataclass(frozen=True)
class RandomFeasible:
    """Random possible skills, each with the real picture of its outcome; it knows physics, not the task."""

    trail: Trail
    seed: int

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,  # noqa: ARG002 - protocol
    ) -> Iterator[Event]:
        """See plan.Planner."""
        shown = frames.newest()
        yield PlanStarted(shown.seq, self.seed, shown.stamp_s)
        views = tuple(frame.camera for frame in shown.frames)
        skills: Skills = ()
        most = min(task.generation.max_subgoals or MOST_SUBGOALS, len(self.trail.needed()))
        # the same walk from the start each time, of which the history is the part that is done
        for index in range(len(history) + most):
            legal = self.trail.at(skills).legal
            if not legal or index >= len(self.trail.needed()):
                break
            rng = np.random.default_rng([self.seed, index])
            skills += (legal[int(rng.integers(len(legal)))],)
            place = self.trail.at(skills)
            if index >= len(history):
                keyframe = Keyframe(place.picture, views) if task.generation.keyframes else None
                words = language.word_skill(skills[-1], self.trail.scene)
                yield StepComplete(Step(index, words, keyframe))
            if not place.ok:
                break
        yield PlanComplete(FinishReason.STOP)


# ---- edits


def show_given(_: Step, shown: Observation) -> Keyframe:
    """The picture that the planner was given."""
    return beside(shown)


def with_keyframe(draw: Callable[[Step, Observation], Keyframe]) -> Callable[[Step, Observation], Step]:
    """An edit that draws another keyframe, where there is one."""

    def edit(step: Step, shown: Observation) -> Step:
        return step if step.keyframe is None else replace(step, keyframe=draw(step, shown))

    return edit


def grey(_: Step, shown: Observation) -> Keyframe:
    """A field of middle grey."""
    given = beside(shown)
    return replace(given, rgb=np.full_like(given.rgb, 128))


def noise(seed: int) -> Callable[[Step, Observation], Keyframe]:
    """Random pixels."""

    def draw(step: Step, shown: Observation) -> Keyframe:
        given = beside(shown)
        rng = np.random.default_rng([seed, step.index])
        return replace(given, rgb=rng.integers(0, 256, given.rgb.shape, dtype=np.uint8))

    return draw


def through(round_trip: Callable[[Picture], Picture]) -> Callable[[Step, Observation], Keyframe]:
    """The keyframe after the tokenizer."""

    def draw(step: Step, shown: Observation) -> Keyframe:  # noqa: ARG001 - an edit
        assert step.keyframe is not None
        return Keyframe(round_trip(step.keyframe.rgb), step.keyframe.views)

    return draw


# what a step says that says nothing
WORDLESS = "do the next thing"


def wordless(step: Step, shown: Observation) -> Step:  # noqa: ARG001 - an edit
    """Words that call no skill."""
    return replace(step, subgoal=WORDLESS)


# ---- the list


@dataclass(frozen=True)
class Known:
    """What controls are made from: one scene, its oracle, and what is known of the planner under test."""

    trail: Trail
    oracle: Planner
    # the oracle's whole plan for another scene of the family
    donor: Callable[[], tuple[Step, ...]]
    # steps that the planner under test made for this scene; empty without one
    made: tuple[Step, ...] = ()
    # the planner under test; None: it was not asked to run again
    tested: Planner | None = None
    # its tokenizer there and back; None: it draws pixels, or its tokenizer is unknown
    round_trip: Callable[[Picture], Picture] | None = None
    # its tokenizer's picture of random codes, by a picture of the size and a seed; None: as above
    random_picture: Callable[[Picture, int], Picture] | None = None
    # plan of the nearest training scene; None without training data
    neighbour: Callable[[], tuple[Step, ...]] | None = None

    @property
    def seed(self) -> int:
        """For what is random."""
        return self.trail.name.sampling_seed


@dataclass(frozen=True)
class Control:
    """One control: what it is, and how it is made; None from `make`: not possible with this planner."""

    about: str
    make: Callable[[Known], Planner | None]
    # it replays or re-asks the planner under test
    derived: bool = False
    # its pictures come out of the tested planner's tokenizer
    tokenized: bool = False


def previous_picture(known: Known) -> Planner:
    """Oracle's words; each keyframe the real picture before its step."""

    def edit(step: Step, shown: Observation) -> Step:
        if step.keyframe is None:
            return step
        skills = known.trail.needed()[: step.index]
        return replace(step, keyframe=Keyframe(known.trail.at(skills).picture, beside(shown).views))

    return Edited(known.oracle, edit)


def scrambled(instruction: str, seed: int) -> str:
    """The sentence's words in another order; a sentence of one word stays."""
    words = instruction.split()
    order = np.random.default_rng([seed, 7]).permutation(len(words))
    if len(words) > 1 and list(order) == sorted(order):
        order = np.roll(order, 1)
    return " ".join(words[int(i)] for i in order)


def shuffled(steps: tuple[Step, ...], seed: int) -> tuple[Step, ...]:
    """The steps in another order, if there are two."""
    order = list(np.random.default_rng([seed, 5]).permutation(len(steps)))
    if len(steps) > 1 and order == sorted(order):
        order = order[1:] + order[:1]
    return tuple(steps[int(i)] for i in order)


def random_codes(known: Known) -> Planner | None:
    """Oracle's words; each keyframe what the tested planner's tokenizer makes of random codes."""
    draw = known.random_picture
    if draw is None:
        return None

    def drawn(step: Step, shown: Observation) -> Keyframe:
        given = beside(shown)
        seed = np.random.SeedSequence([known.seed, step.index]).generate_state(1)[0]
        return replace(given, rgb=draw(given.rgb, int(seed)))

    return Edited(known.oracle, with_keyframe(drawn))


def _tokenizer_oracle(known: Known) -> Planner | None:
    if known.round_trip is None:
        return None
    return Edited(known.oracle, with_keyframe(through(known.round_trip)))


CONTROLS: dict[str, Control] = {
    "oracle": Control("knows the task, the skills and the real future: the upper bound", lambda k: k.oracle),
    "oracle-through-tokenizer": Control(
        "the oracle, its pictures sent through the tested planner's tokenizer: the ceiling of its pictures",
        _tokenizer_oracle,
        tokenized=True,
    ),
    "copy-first": Control(
        "the oracle's words; every keyframe is the picture that was given",
        lambda k: Edited(k.oracle, with_keyframe(show_given)),
    ),
    "copy-last": Control(
        "the oracle's words; every keyframe is the real picture before its step", previous_picture
    ),
    "random-feasible": Control(
        "random possible skills with real pictures of their outcomes",
        lambda k: RandomFeasible(k.trail, k.seed),
    ),
    "noise": Control(
        "the oracle's words; every keyframe is random pixels",
        lambda k: Edited(k.oracle, with_keyframe(noise(k.seed))),
    ),
    "random-tokens": Control(
        "the oracle's words; every keyframe is random codes, decoded by the tested planner's tokenizer",
        random_codes,
        tokenized=True,
    ),
    "other-scene": Control("the oracle's plan for another scene of the family", lambda k: Replay(k.donor())),
    "text-only": Control(
        "the tested planner's words with grey keyframes",
        lambda k: Edited(Replay(k.made), with_keyframe(grey)),
        derived=True,
    ),
    "image-only": Control(
        "the tested planner's keyframes with words that call nothing",
        lambda k: Edited(Replay(k.made), wordless),
        derived=True,
        tokenized=True,
    ),
    "shuffled-steps": Control(
        "the tested planner's steps in another order",
        lambda k: Replay(shuffled(k.made, k.seed)),
        derived=True,
        tokenized=True,
    ),
    "scrambled-instruction": Control(
        "the tested planner, told the words of the task in another order",
        lambda k: k.tested and Told(k.tested, scrambled(k.trail.scene.instruction, k.seed)),
        derived=True,
        tokenized=True,
    ),
    "nearest-neighbour": Control(
        "the plan of the training scene that looks and sounds most alike",
        lambda k: k.neighbour and Replay(k.neighbour()),
    ),
}
# what `bench quick` runs: the figures beside which a planner is always shown
SHORT = ("copy-first", "text-only", "oracle")
