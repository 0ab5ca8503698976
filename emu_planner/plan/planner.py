"""The seam: one protocol that the model, the remote client, the oracle and every baseline implement.

Recording, retrying and verifying wrap a Planner; no flag for them enters it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from emu_planner.plan.errors import ErrorCode, PlanError
from emu_planner.plan.event import Event
from emu_planner.plan.frame import FrameSource
from emu_planner.plan.step import StepOutcome
from emu_planner.plan.stop import Stop


@dataclass(frozen=True)
class Generation:
    """How a plan is generated; None leaves the choice to the planner."""

    # most subgoals in one plan; 0: the planner decides when it is done
    max_subgoals: int = 0
    # imagine an image for each subgoal
    keyframes: bool = True
    # the same seed, task and observation give the same plan on the same machine
    seed: int | None = None
    # sampling of text and image tokens
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    # classifier-free guidance of image tokens; 1: none
    guidance_scale: float | None = None
    # longest wait for the first whole subgoal, and for each later one; None: no limit
    first_subgoal_timeout_s: float | None = None
    subgoal_timeout_s: float | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise PlanError(ErrorCode.INVALID_REQUEST, f"{f.name} is {value}; give a finite number")
        if self.max_subgoals < 0:
            _reject("max_subgoals", self.max_subgoals, "0 (no limit) or more")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            _reject("seed", self.seed, "0 to 2^64 - 1")
        if self.temperature is not None and self.temperature < 0:
            _reject("temperature", self.temperature, "0 (greedy) or more")
        if self.top_k is not None and self.top_k < 1:
            _reject("top_k", self.top_k, "1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            _reject("top_p", self.top_p, "above 0 and at most 1")
        if self.guidance_scale is not None and self.guidance_scale < 1:
            _reject("guidance_scale", self.guidance_scale, "1 (none) or more")
        for name in ("first_subgoal_timeout_s", "subgoal_timeout_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                _reject(name, value, "above 0 s")


@dataclass(frozen=True)
class Task:
    """What the robot is asked to do, in one sentence, and how to plan for it."""

    instruction: str
    generation: Generation = Generation()

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise PlanError(
                ErrorCode.INVALID_REQUEST,
                'the instruction is empty; say what to do, for example "put the red block in the bowl"',
            )
        if len(self.instruction) > 2000:
            raise PlanError(
                ErrorCode.INVALID_REQUEST,
                f"the instruction has {len(self.instruction)} characters; at most 2000",
            )


class Planner(Protocol):
    """Whatever can turn a task and the newest frames into a stream of steps."""

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """Plan from the newest observation on.

        Args:
            task: the sentence and the settings.
            frames: where the planner takes its newest observation from, once, when it begins.
            history: the steps so far and what became of them; step numbers go on after them.
            stop: when requested, the stream ends soon with PlanComplete(INTERRUPTED).

        Yields:
            Events in the order that plan/event.py states.

        Raises:
            PlanError: the plan cannot be made, or cannot go on.
        """
        ...


def _reject(name: str, value: object, expected: str) -> None:
    raise PlanError(ErrorCode.INVALID_REQUEST, f"{name} is {value}; expected {expected}")
