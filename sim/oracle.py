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
from sim.relations import SPATIAL
from sim.scene import CRATE, TABLE, Fact, Goal, Skill, names_in
from sim.state import SymbolicState, satisfied
from sim.world import World

# More steps than any plan needs: an oracle that reaches it goes in circles
MOST_STEPS = 20


def next_skill(goal: Goal, state: SymbolicState) -> Skill | None:
    """The next step towards a goal; None when nothing is left to do.

    Raises:
        PlanError: INVALID_REQUEST when a named object is out of reach (lost or tipped over).
    """
    goal = goal.at(state.stage)
    if (held := state.held) is not None:
        fact = goal.of(held)
        return _placed(fact) if fact and _ready(goal, state, fact) else Skill("place", held, TABLE)
    for fact in goal.facts:
        if not satisfied(state, fact):
            return _towards(goal, state, fact)
    for receptacle in goal.exclusive:
        for name in state.inside(receptacle):
            if goal.of(name) is None:
                return _pick(state, state.top(name))
    return None


# Which verb makes a fact about a moving part true
_VERBS = {"open": "open", "closed": "close", "lit": "press", "dark": "press"}


def _towards(goal: Goal, state: SymbolicState, fact: Fact) -> Skill:
    """The next step towards one fact, with empty hands."""
    if fact.relation in _VERBS:
        return Skill(_VERBS[fact.relation], fact.object)
    first = _in_the_way(goal, state, fact)
    if first == fact.object and state.part(fact.target) in ("closed", "ajar"):
        return Skill("open", fact.target)
    if first == fact.object and first.endswith(CRATE):
        return Skill("push", first, fact.target)
    return _pick(state, first)


def _pick(state: SymbolicState, name: str) -> Skill:
    """Pick something; open first what it is shut in."""
    if (shut := state.shut_in(name)) is not None:
        return Skill("open", shut)
    return Skill("pick", _reachable(state, name))


def _placed(fact: Fact) -> Skill:
    """The skill that makes a fact true for a held object."""
    if fact.relation in SPATIAL:
        return Skill("place", fact.object, fact.target, fact.relation)
    relation = "across" if len(names_in(fact.target)) == 2 else ""
    return Skill("place", fact.object, fact.target, relation)


def _in_the_way(goal: Goal, state: SymbolicState, fact: Fact) -> str:
    """What has to be picked first so that a fact can come true; often the object itself."""
    if (top := state.top(fact.object)) != fact.object:
        return top
    if fact.relation in SPATIAL:
        return _in_the_way_beside(state, fact)
    if fact.relation == "on" and fact.target != TABLE:
        for name in names_in(fact.target):
            if (top := state.top(name)) != name:
                return top
        return fact.object
    if fact.target in state.full:
        for name in state.inside(fact.target):
            if goal.of(name) != state.of(name):
                return state.top(name)
    return fact.object


def _in_the_way_beside(state: SymbolicState, fact: Fact) -> str:
    """The same for a relation between objects that stand on the table."""
    for name in names_in(fact.target):
        if state.of(name).target != TABLE:
            return state.top(name)
    for blocker in state.blocked:
        if blocker.target == f"{fact.relation} {fact.target}" and blocker.object != fact.object:
            return state.top(blocker.object)
    return fact.object


def _ready(goal: Goal, state: SymbolicState, fact: Fact) -> bool:
    """Whether the held object may go where it belongs."""
    if fact.relation == "in":
        return fact.target not in state.full and state.part(fact.target) in ("", "open")
    if fact.target == TABLE:
        return True
    for name in names_in(fact.target):
        below = goal.of(name)
        if below is not None and not satisfied(state, below):
            return False
        if fact.relation in SPATIAL:
            if state.of(name).target != TABLE:
                return False
        elif state.above(name) is not None:
            return False
    return all(blocker.target != f"{fact.relation} {fact.target}" for blocker in state.blocked)


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
        self._ahead.mirror(self._live, anew=bool(self._live.scene.parts))
        if goal != self._live.goal:
            self._ahead.follow(goal)
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
