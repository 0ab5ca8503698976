"""What a demo run came to, as plain data: the contact sheet, the page and report.json show it.

Knows no ROS and no file.
"""

from dataclasses import dataclass, field
from typing import Any

from emu_planner.cli.pictures import Rgb


class DemoError(Exception):
    """A demo cannot start or go on; the text says why and what to do."""


@dataclass
class StepRecord:
    """One step as it was planned and as it went. Times in seconds."""

    index: int
    words: str = ""
    # share of the keyframe's tokens that are there, [0, 1]
    keyframe_share: float = 0.0
    keyframe: Rgb | None = None
    # how many views the keyframe holds, side by side
    views: int = 1
    # what the cameras saw when the step was planned, and after it was carried out; views side by side
    before: Rgb | None = None
    after: Rgb | None = None
    # planned, running, succeeded, failed, skipped, expired ...
    state: str = "planning"
    # what the executor said
    detail: str = ""
    confidence: float | None = None
    # since planning of this step began
    words_s: float | None = None
    keyframe_s: float | None = None
    # from the keyframe to the executor's outcome
    executed_s: float | None = None

    @property
    def planned_s(self) -> float | None:
        """From the beginning of the step until it was whole."""
        return self.keyframe_s if self.keyframe_s is not None else self.words_s


@dataclass
class DemoRecord:
    """A whole run."""

    task: str
    # where the pictures came from: "stack scene 1000000007", or a file's name
    source: str
    # who planned: checkpoint or address
    planner: str
    executed: bool
    steps: list[StepRecord] = field(default_factory=list)
    # since the goal was sent
    first_words_s: float | None = None
    first_keyframe_s: float | None = None
    plan_s: float | None = None
    # how the plan ended: the plan's finish_reason, and the action's error in words
    finish: str = ""
    error: str = ""
    # the task's named conditions in the simulator's exact state; None: not judged
    conditions: dict[str, bool] | None = None
    # peak resident memory in MB: the service's, and that of all processes together
    service_mb: float | None = None
    all_mb: float | None = None

    @property
    def has_plan(self) -> bool:
        """Whether a whole plan came, with a keyframe for each step."""
        return not self.error and bool(self.steps) and all(s.keyframe is not None for s in self.steps)

    @property
    def succeeded(self) -> bool | None:
        """Whether the task is done; None: not judged."""
        return None if self.conditions is None or not self.executed else all(self.conditions.values())

    @property
    def verdict(self) -> str:
        """The same in words."""
        if not self.executed:
            return "planned only, nothing was executed"
        if self.succeeded is None:
            return "executed; the simulator cannot judge this sentence"
        if self.succeeded:
            return "task done, by the simulator's exact state"
        missing = [name for name, true in (self.conditions or {}).items() if not true]
        return f"task not done: {', '.join(missing)}"


def outcome_words(step: StepRecord) -> str:
    """A step's state with what the executor said."""
    return f"{step.state}: {step.detail}" if step.detail else step.state


def seconds_words(seconds: float | None) -> str:
    """A time for people."""
    return "-" if seconds is None else f"{seconds:.1f} s" if seconds >= 9.95 else f"{seconds:.2f} s"


def as_json(record: DemoRecord) -> dict[str, Any]:
    """The run without its pictures, for report.json."""
    hidden = ("keyframe", "before", "after", "steps")

    def told(values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in values.items()
            if name not in hidden
        }

    steps = [told(vars(step)) for step in record.steps]
    return {**told(vars(record)), "succeeded": record.succeeded, "verdict": record.verdict, "steps": steps}
