"""Planners that any real one must beat, all behind the same protocol. No model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emu_planner.plan.event import Event, StepComplete
from emu_planner.plan.frame import FrameSource
from emu_planner.plan.planner import Planner, Task
from emu_planner.plan.step import Keyframe, StepOutcome
from emu_planner.plan.stop import Stop


@dataclass(frozen=True)
class CopyLastFrame:
    """Another planner's words; every keyframe is the picture that it was shown.

    It knows what to say and imagines nothing: the score of a keyframe that never changes.
    """

    words: Planner

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
        copy = Keyframe(
            np.concatenate([frame.rgb for frame in shown.frames], axis=1),
            tuple(frame.camera for frame in shown.frames),
        )
        for event in self.words.plan(task, frames, history, stop=stop):
            if isinstance(event, StepComplete):
                event = replace(event, step=replace(event.step, keyframe=copy))
            yield event


@dataclass(frozen=True)
class TextOnly:
    """Another planner's first words for the present picture; its keyframe is a grey field.

    It never imagines, so it cannot look ahead: a plan is one step long.
    """

    words: Planner

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
        grey = Keyframe(
            np.full_like(np.concatenate([frame.rgb for frame in shown.frames], axis=1), 128),
            tuple(frame.camera for frame in shown.frames),
        )
        single = replace(task, generation=replace(task.generation, max_subgoals=1, keyframes=False))
        for event in self.words.plan(single, frames, history, stop=stop):
            if isinstance(event, StepComplete):
                event = replace(event, step=replace(event.step, keyframe=grey))
            yield event
