"""A goal in its thread, with a Listener that remembers."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from emu_planner.goal.feed import CameraFeed
from emu_planner.goal.goal import PlanGoal
from emu_planner.goal.states import (
    Feedback,
    GoalLimits,
    GoalRequest,
    Look,
    Phase,
    PlannedStep,
    PlanView,
    Result,
    Review,
    StepState,
)
from emu_planner.plan import ErrorCode, Frame, Outcome, Task
from tests.fakes import FakePlanner

LIMITS = GoalLimits(
    observation_timeout_s=5.0,
    observation_max_age_s=60.0,
    subgoal_validity_s=60.0,
    review_timeout_s=60.0,
    max_failures=2,
)


def picture(camera: str = "cam", stamp_s: float = 1.0) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), camera, stamp_s)


@dataclass
class Diary:
    """A Listener that remembers, and can be waited on."""

    offers: list[PlannedStep] = field(default_factory=list)
    losses: list[ErrorCode] = field(default_factory=list)
    made: list[PlannedStep] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def plan_changed(self, plan: PlanView) -> None:
        pass

    def step_made(self, plan: PlanView, made: PlannedStep) -> None:
        self._add(self.made, made)

    def step_offered(self, plan: PlanView, offered: PlannedStep) -> None:
        self._add(self.offers, offered)

    def link_lost(self, error: ErrorCode) -> None:
        self.losses.append(error)

    def step_watched(self, plan: PlanView, made: PlannedStep, look: Look) -> None:
        self._add(self.looks, look)

    def progressed(self, plan: PlanView, feedback: Feedback) -> None:
        self._add(self.feedback, feedback)

    def ended(self, result: Result) -> None:
        self._add(self.results, result)

    def _add(self, entries: list, entry: object) -> None:
        with self.news:
            entries.append(entry)
            self.news.notify_all()

    def wait(self, condition) -> None:
        with self.news:
            assert self.news.wait_for(condition, 20.0), "waited in vain"

    def offer(self, count: int) -> PlannedStep:
        """The count-th step on offer."""
        approved = lambda: [o for o in self.offers if o.state is StepState.APPROVED]  # noqa: E731
        self.wait(lambda: len(approved()) >= count)
        return approved()[count - 1]

    def phase(self, phase: Phase) -> None:
        self.wait(lambda: any(f.phase is phase for f in self.feedback))


class Work:
    """A goal in its thread."""

    def __init__(
        self,
        planner=None,
        *,
        frames: bool = True,
        limits: GoalLimits = LIMITS,
        now_s: Callable[[], float] = time.monotonic,
        **request,
    ):
        self.diary, self.feed = Diary(), CameraFeed(("cam",))
        if frames:
            self.feed.put(picture())
        request = {
            "plan_id": bytes(16),
            "task": Task("do it"),
            "review": Review.NONE,
            "closed_loop": True,
            "time_limit_s": 60.0,
            "cameras": ("cam",),
            **request,
        }
        epochs = iter(range(1, 1000))
        self.goal = PlanGoal(
            planner or FakePlanner(),
            self.feed,
            GoalRequest(**request),
            limits=limits,
            listener=self.diary,
            next_epoch=lambda: next(epochs),
            now_s=now_s,
        )
        self.thread = threading.Thread(target=self.goal.run, daemon=True)
        self.thread.start()

    def report(self, step: PlannedStep, outcome: Outcome, detail: str = "") -> None:
        self.goal.report(step.epoch, step.step.index, outcome, detail)

    def result(self) -> Result:
        self.diary.wait(lambda: self.diary.results)
        assert len(self.diary.results) == 1
        return self.diary.results[0]
