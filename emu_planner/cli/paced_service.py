"""A planner that keeps a pace and thinks nothing, behind a gRPC socket: what `bench load` serves.

    python -m emu_planner.cli.paced_service --port PORT --token-ms 2

Its keyframes are cut out of the pictures that it was shown, so that coding them costs what it would. It says
nothing about any model; with it, a load test measures the wire and the service alone. A composition root.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emu_planner.cli.arguments import positive
from emu_planner.plan import (
    Event,
    FinishReason,
    FrameSource,
    Keyframe,
    KeyframeProgress,
    Observation,
    PlanComplete,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
    TextDelta,
    Timing,
)
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import serve

# width and height of one imagined view, px, where the picture is as large: nano's
VIEW_PX = 192
_WORDS = ("pick", "up", "the", "red", "block", "from", "the", "table")


@dataclass(frozen=True)
class PacedPlanner:
    """A Planner of steps that are all alike."""

    # steps of a plan; a task that sets max_subgoals gets as many as that
    steps: int = 3
    # how often the keyframe's progress is told
    keyframe_tokens: int = 24
    # sleep before each word and each of those, seconds
    token_s: float = 0.0
    # longest wait for a first observation, seconds
    frame_timeout_s: float = 5.0

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner; stops between any two tokens."""
        stop = stop or Stop()
        observation = frames.newest(self.frame_timeout_s)
        yield PlanStarted(observation.seq, task.generation.seed or 0, observation.stamp_s)
        first = max((past.step.index for past in history), default=-1) + 1
        generated = 0
        for index in range(first, first + (task.generation.max_subgoals or self.steps)):
            for event in self._tokens(index, task.generation.keyframes):
                time.sleep(self.token_s)
                if stop.requested:
                    yield PlanComplete(FinishReason.INTERRUPTED, Timing(generated_tokens=generated))
                    return
                generated += 1
                yield event
            keyframe = imagined(observation, index) if task.generation.keyframes else None
            yield StepComplete(Step(index, " ".join(_WORDS), keyframe))
        yield PlanComplete(FinishReason.STOP, Timing(generated_tokens=generated))

    def _tokens(self, index: int, keyframes: bool) -> Iterator[Event]:  # noqa: FBT001 - the task's word
        for place, word in enumerate(_WORDS):
            yield TextDelta(index, f" {word}" if place else word)
        for done in range(1, (self.keyframe_tokens if keyframes else 0) + 1):
            yield KeyframeProgress(index, done, self.keyframe_tokens)


def imagined(observation: Observation, index: int) -> Keyframe:
    """The upper left of each picture, moved by `index` pixels, side by side: [<= 192, <= 192 * views, 3]."""
    height = min(VIEW_PX, *(frame.rgb.shape[0] for frame in observation.frames))
    width = min(VIEW_PX, *(frame.rgb.shape[1] for frame in observation.frames))
    views = [np.roll(frame.rgb[:height, :width], index, axis=1) for frame in observation.frames]
    return Keyframe(np.hstack(views), tuple(frame.camera for frame in observation.frames))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. 3: the port is taken."""
    parser = argparse.ArgumentParser(prog="paced_service", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-ms", type=float, default=0.0)
    parser.add_argument("--steps", type=positive, default=PacedPlanner.steps)
    parser.add_argument("--max-sessions", type=positive, default=ServiceConfig.max_sessions)
    parser.add_argument("--max-plans", type=positive, default=ServiceConfig.max_running_plans)
    args = parser.parse_args(argv)
    config = ServiceConfig(
        address=f"127.0.0.1:{args.port}",
        max_sessions=args.max_sessions,
        max_running_plans=args.max_plans,
        model="paced",
    )
    try:
        serve(lambda: PacedPlanner(steps=args.steps, token_s=args.token_ms / 1000), config)
    except OSError as error:
        print(f"paced_service: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
