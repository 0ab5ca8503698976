"""The nouns that every other room speaks: frames, steps, events, reports, and the Planner protocol.

Depends on the standard library and numpy alone. Knows no network, robot, simulator or model.
"""

from emu_planner.plan.errors import ErrorCode, PlanError
from emu_planner.plan.event import (
    Event,
    FinishReason,
    KeyframeProgress,
    PlanComplete,
    PlanStarted,
    StepComplete,
    TextDelta,
    Timing,
    Waiting,
)
from emu_planner.plan.frame import Camera, Frame, FrameSource, Mailbox, Observation, Still
from emu_planner.plan.planner import Generation, Planner, Task
from emu_planner.plan.progress import Progress, ProgressLimits, Verdict, compare
from emu_planner.plan.report import Report, collect
from emu_planner.plan.step import Keyframe, Outcome, Step, StepOutcome
from emu_planner.plan.stop import Stop

__all__ = [
    "Camera",
    "ErrorCode",
    "Event",
    "FinishReason",
    "Frame",
    "FrameSource",
    "Generation",
    "Keyframe",
    "KeyframeProgress",
    "Mailbox",
    "Observation",
    "Outcome",
    "PlanComplete",
    "PlanError",
    "PlanStarted",
    "Planner",
    "Progress",
    "ProgressLimits",
    "Report",
    "Step",
    "StepComplete",
    "StepOutcome",
    "Still",
    "Stop",
    "Task",
    "TextDelta",
    "Timing",
    "Verdict",
    "Waiting",
    "collect",
    "compare",
]
