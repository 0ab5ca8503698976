"""Taking a plan from a planner: every event checked, or the planner's fault named.

What is no plan loses its scene and nothing else. Knows the shape that pictures must have; no world.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from emu_planner.plan.errors import ErrorCode
from emu_planner.plan.event import Event, PlanComplete, PlanStarted, StepComplete
from emu_planner.plan.frame import Observation
from emu_planner.plan.report import Report, collect
from emu_planner.plan.step import Step
from sim.oracle import MOST_STEPS

# of an open-loop plan: what the oracle may take too
MOST_SUBGOALS = MOST_STEPS
# of one subgoal; a sentence, not a book
MOST_CHARACTERS = 300
_MOST_EVENTS = 200_000
# a PlanError that tells of the way to a planner, not of its plan; by its code's value
_OUTAGES = tuple(
    code.value
    for code in (ErrorCode.SERVER_UNAVAILABLE, ErrorCode.MODEL_NOT_READY, ErrorCode.RESOURCE_EXHAUSTED)
)


class PlannerFault(Exception):  # noqa: N818 - a fault of the planner, no error of this code
    """The planner broke its contract: its scene counts nothing. `kind` is one or two words.

    No PlanError: those are a planner's own way to say that it cannot go on, and keep its steps.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


class Outage(RuntimeError):  # noqa: N818 - says more than OutageError
    """The planner could not be asked: there is nothing to judge, and a later run may ask again."""


@dataclass(frozen=True)
class Taken:
    """What came of asking: the report, and the kind and words of a fault, empty without one."""

    report: Report
    fault: str = ""
    detail: str = ""


def take(instruction: str, events: Iterable[Event], shown: Observation, most: int) -> Taken:
    """Run a planner's stream to its end, and check it.

    A PlanError of the planner's own ends the plan and keeps its steps. A broken contract, any other
    exception included, is a fault: the steps are void.

    Args:
        shown: what the planner saw; its pictures side by side give the shape of a keyframe.
        most: steps beyond this are a fault.

    Raises:
        Outage: the planner is out of reach, still loading, or has no place for one more plan.
    """
    frames = [frame.rgb for frame in shown.frames]
    shape = (frames[0].shape[0], sum(rgb.shape[1] for rgb in frames), 3)
    views = tuple(frame.camera for frame in shown.frames)
    try:
        report = collect(instruction, _check(events, shape, views, most))
    except PlannerFault as fault:
        kind, detail = fault.kind, fault.detail
    except Exception as error:
        kind, detail = "raised", f"{type(error).__name__}: {error}"
    else:
        if report.error_code in _OUTAGES:
            raise Outage(f"{report.error_code}: {report.error_message}")
        return Taken(report)
    return Taken(Report(instruction, (), "error", error_code=kind), kind, detail[:300])


def _check(
    events: Iterable[Event], shape: tuple[int, int, int], views: tuple[str, ...], most: int
) -> Iterator[Event]:
    started, steps = False, 0
    for count, event in enumerate(events):
        if count > _MOST_EVENTS:
            raise PlannerFault("endless", f"more than {_MOST_EVENTS} events in one plan")
        if isinstance(event, PlanStarted):
            started = True
        elif isinstance(event, StepComplete):
            steps += 1
            if not started:
                raise PlannerFault("broken stream", "a step came before PlanStarted")
            if steps > most:
                raise PlannerFault("too many steps", f"more than {most}, which the task's settings allow")
            _check_step(event.step, shape, views)
        yield event
        if isinstance(event, PlanComplete):
            return
    raise PlannerFault("broken stream", "it ended without PlanComplete")


def _check_step(step: Step, shape: tuple[int, int, int], views: tuple[str, ...]) -> None:
    if not isinstance(step.subgoal, str) or not step.subgoal.strip():
        raise PlannerFault("empty words", f"step {step.index} says nothing")
    if len(step.subgoal) > MOST_CHARACTERS:
        raise PlannerFault("endless words", f"step {step.index} has {len(step.subgoal)} characters")
    if step.keyframe is None:
        return
    if step.keyframe.rgb.shape != shape:
        raise PlannerFault(
            "bad picture", f"step {step.index}: {list(step.keyframe.rgb.shape)}, expected {list(shape)}"
        )
    if step.keyframe.views != views:
        raise PlannerFault("bad picture", f"step {step.index}: views {step.keyframe.views}, expected {views}")
