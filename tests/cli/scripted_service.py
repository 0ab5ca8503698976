"""Serve a planner that reads nothing: python -m tests.cli.scripted_service FAMILY SEED [TOKEN_DELAY_S].

It plays the oracle's plan for one scene, made before it listens; prints its address, then serves.
"""

import sys
import time
from collections.abc import Iterator, Sequence

from emu_planner.plan import (
    Event,
    FinishReason,
    FrameSource,
    KeyframeProgress,
    Observation,
    PlanComplete,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Still,
    Stop,
    Task,
    TextDelta,
    collect,
)
from emu_planner.service.server import running_service
from sim.oracle import OraclePlanner
from sim.world import World

_ROWS = 6


class Script:
    """A Planner that goes on after the history, whatever it is shown."""

    def __init__(self, steps: Sequence[Step], token_delay_s: float = 0.0) -> None:
        self._steps, self._delay_s = steps, token_delay_s

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        observation = frames.newest(5.0)
        yield PlanStarted(observation.seq, task.generation.seed or 0, observation.stamp_s)
        limit = task.generation.max_subgoals or len(self._steps)
        rest = self._steps[len(history) :]
        for step in rest[:limit]:
            for place, word in enumerate(step.subgoal.split()):
                time.sleep(self._delay_s)
                yield TextDelta(step.index, word if place == 0 else f" {word}")
            for row in range(_ROWS):
                time.sleep(self._delay_s)
                yield KeyframeProgress(step.index, row + 1, _ROWS)
            if stop is not None and stop.requested:
                yield PlanComplete(FinishReason.INTERRUPTED)
                return
            yield StepComplete(step)
        yield PlanComplete(FinishReason.LENGTH if len(rest) > limit else FinishReason.STOP)


def oracle_steps(family: str, seed: int) -> tuple[Step, ...]:
    with World() as world:
        scene = world.reset(family, seed)
        oracle = OraclePlanner(world)
        report = collect(scene.instruction, oracle.plan(Task(scene.instruction), Still(Observation(()))))
        oracle.close()
    assert not report.error_message, report.error_message
    return report.steps


if __name__ == "__main__":
    delay_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    script = Script(oracle_steps(sys.argv[1], int(sys.argv[2])), delay_s)
    with running_service(lambda: script) as target:
        print(target, flush=True)
        sys.stdin.read()
