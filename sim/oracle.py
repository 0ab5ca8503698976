"""The planner that knows: the next skill from any reachable state, and plans with real pictures.

`next_skill` reads symbols only. OraclePlanner carries its own copy of the world ahead and shows
what really happens there; the live world does not move.
"""

from collections.abc import Iterator, Sequence

from emu_planner.plan.errors import ErrorCode, PlanError
from emu_planner.plan.event import (
    Event,
    FinishReason,
    PlanComplete,
    PlanStarted,
    StepComplete,
    TextDelta,
)
from emu_planner.plan.frame import FrameSource
from emu_planner.plan.planner import Task
from emu_planner.plan.step import Keyframe, Step, StepOutcome
from emu_planner.plan.stop import Stop
from sim import language
from sim.camera import VIEWS
from sim.scene import TABLE, Fact, Goal, Skill
from sim.state import SymbolicState, satisfied
from sim.world import World

# More steps than any plan needs: an oracle that reaches it goes in circles
MOST_STEPS = 20


def next_skill(goal: Goal, state: SymbolicState) -> Skill | None:
    """The next step towards a goal; None when nothing is left to do.

    Raises:
        PlanError: INVALID_REQUEST when a named object is out of reach (lost or tipped over).
    """
    if (held := state.held) is not None:
        fact = goal.of(held)
        return Skill("place", held, fact.target if fact and _ready(goal, state, fact) else TABLE)
    for fact in goal.facts:
        if not satisfied(state, fact):
            return Skill("pick", _reachable(state, _in_the_way(goal, state, fact)))
    for receptacle in goal.exclusive:
        for name in state.inside(receptacle):
            if goal.of(name) is None:
                return Skill("pick", _reachable(state, state.top(name)))
    return None


def _in_the_way(goal: Goal, state: SymbolicState, fact: Fact) -> str:
    """What has to be picked first so that a fact can come true; often the object itself."""
    if (top := state.top(fact.object)) != fact.object:
        return top
    if fact.relation == "on" and fact.target != TABLE:
        return state.top(fact.target) if state.above(fact.target) else fact.object
    if fact.target in state.full:
        for name in state.inside(fact.target):
            if goal.of(name) != state.of(name):
                return state.top(name)
    return fact.object


def _ready(goal: Goal, state: SymbolicState, fact: Fact) -> bool:
    """Whether the held object may go where it belongs."""
    if fact.relation == "in":
        return fact.target not in state.full
    if fact.target == TABLE:
        return True
    below = goal.of(fact.target)
    return state.above(fact.target) is None and (below is None or satisfied(state, below))


def _reachable(state: SymbolicState, name: str) -> str:
    relation = state.of(name).relation
    if relation not in ("on", "in"):
        raise PlanError(ErrorCode.INVALID_REQUEST, f"the {name} is {relation}: nothing can pick it up")
    return name


class OraclePlanner:
    """A Planner for one live world: its keyframes are pictures of the real future.

    The instruction is read by the grammar; the observation's pixels are not looked at.

    Args:
        live: the world to plan for; read when `plan` begins, never moved.
    """

    def __init__(self, live: World) -> None:
        self._live = live
        self._ahead = World()

    def close(self) -> None:
        """End the copy of the world."""
        self._ahead.close()

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner. PlanError INVALID_REQUEST: the grammar cannot read the instruction."""
        goal = language.parse_instruction(task.instruction, self._live.scene)
        if goal is None:
            raise PlanError(
                ErrorCode.INVALID_REQUEST,
                f"the oracle cannot read {task.instruction!r} in this scene; "
                f"it understands, for example, {self._live.scene.instruction!r}",
            )
        observation = frames.newest()
        settings = task.generation
        seed = settings.seed or 0
        yield PlanStarted(observation.seq, seed, observation.stamp_s)
        self._ahead.mirror(self._live)
        most = settings.max_subgoals or MOST_STEPS
        for index in range(len(history), len(history) + most):
            if stop is not None and stop.requested:
                yield PlanComplete(FinishReason.INTERRUPTED)
                return
            skill = next_skill(goal, self._ahead.state())
            if skill is None:
                yield PlanComplete(FinishReason.STOP)
                return
            subgoal = language.word_skill(skill, self._ahead.scene, seed)
            yield TextDelta(index, subgoal)
            result = self._ahead.execute(skill)
            if not result.ok:
                raise PlanError(ErrorCode.INVALID_OUTPUT, f"{skill} fails ahead: {result.detail}")
            keyframe = Keyframe(self._ahead.picture(), VIEWS) if settings.keyframes else None
            yield StepComplete(Step(index, subgoal, keyframe, 1.0))
        done = next_skill(goal, self._ahead.state()) is None
        yield PlanComplete(FinishReason.STOP if done else FinishReason.LENGTH)
