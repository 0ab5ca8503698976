"""Processes of the ROS tests: a planner whose script stands in the instruction, served or in a node.

    python -m tests.ros.scripted serve PORT       the real gRPC service around it
    python -m tests.ros.scripted node [ROS args]  the real node around it, without a service

Words of the instruction: "slowly" sleeps before each token, "badly" fails at the second step,
"twice" stops when two steps succeeded, "look" answers with the number painted into the picture,
"foresee" imagines that picture with a block in its corner.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan import (
    Event,
    FinishReason,
    Frame,
    FrameSource,
    Keyframe,
    Outcome,
    PlanComplete,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
)
from tests.fakes import FakePlanner

# what the service says that it plans with
MODEL, VERSION = "scripted", "1 of 1"


@dataclass(frozen=True)
class ScriptedPlanner:
    """FakePlanner, told by the instruction how to behave."""

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        words = task.instruction.split()
        succeeded = sum(past.outcome is Outcome.SUCCEEDED for past in history)
        if "twice" in words and succeeded >= 2:
            yield PlanStarted(0, 0)
            yield PlanComplete(FinishReason.STOP)
        elif "look" in words:
            observation = frames.newest(5.0)
            yield PlanStarted(observation.seq, 0, observation.stamp_s)
            numbers = [number_of(frame) for frame in observation.frames]
            yield StepComplete(Step(len(history), " ".join(map(str, numbers))))
            yield PlanComplete(FinishReason.LENGTH)
        elif "foresee" in words:
            observation = frames.newest(5.0)
            yield PlanStarted(observation.seq, 0, observation.stamp_s)
            (frame,) = observation.frames
            keyframe = Keyframe(with_block(frame.rgb, 8, 8), (frame.camera,))
            yield StepComplete(Step(len(history), f"put a block on {frame.stamp_s:.6f}", keyframe))
            yield PlanComplete(FinishReason.LENGTH)
        else:
            fake = FakePlanner(
                token_delay_s=0.1 if "slowly" in words else 0.0,
                frame_timeout_s=5.0,
                fail_at=1 if "badly" in words else None,
            )
            yield from fake.plan(task, frames, history, stop=stop)


def numbered(number: int, camera: str, stamp_s: float) -> Frame:
    """A picture with its number in every pixel."""
    rgb = np.empty((12, 16, 3), np.uint8)
    rgb[:] = list(number.to_bytes(3, "big"))
    return Frame(rgb, camera, stamp_s)


def with_block(rgb: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    """The picture [H, W, 3] with a red block of 10x10 px there."""
    picture = rgb.copy()
    picture[row : row + 10, column : column + 10] = (200, 20, 20)
    return picture


def number_of(frame: Frame) -> int:
    return int.from_bytes(frame.rgb[0, 0].tobytes(), "big")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        from emu_planner.service.config import ServiceConfig
        from emu_planner.service.server import serve

        named = {"model": MODEL, "model_version": VERSION}
        address = f"127.0.0.1:{sys.argv[2]}"
        serve(ScriptedPlanner, ServiceConfig(address=address, drain_timeout_s=0.0, **named))
    else:
        from emu_planner.ros.planner_node import run_node

        run_node(lambda _: ScriptedPlanner(), sys.argv)
