"""What a plan came to: the action's result on a robot, or one row of a benchmark."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from emu_planner.plan.errors import PlanError
from emu_planner.plan.event import Event, PlanComplete, PlanStarted, StepComplete, Timing
from emu_planner.plan.step import Step, StepOutcome


@dataclass(frozen=True)
class Report:
    """A finished plan. `reason` is a FinishReason's value, or "error" with code and message."""

    instruction: str
    steps: tuple[Step, ...]
    reason: str
    seed: int | None = None
    error_code: str = ""
    error_message: str = ""
    outcomes: tuple[StepOutcome, ...] = ()
    timing: Timing = field(default=Timing(), compare=False)


def collect(instruction: str, events: Iterable[Event]) -> Report:
    """Run a planner's stream to its end. A PlanError becomes the report's error, steps kept."""
    steps: list[Step] = []
    seed: int | None = None
    try:
        for event in events:
            match event:
                case PlanStarted():
                    seed = event.seed
                case StepComplete(step=step):
                    steps.append(step)
                case PlanComplete(reason=reason, timing=timing):
                    return Report(instruction, tuple(steps), reason.value, seed, timing=timing)
                case _:
                    pass
    except PlanError as error:
        return Report(
            instruction,
            tuple(steps),
            "error",
            seed,
            error_code=error.code.value,
            error_message=error.message,
        )
    raise AssertionError("a planner's stream ended without PlanComplete")
