"""A robot in this process: a Planner, a camera feed and a body that carries out words.

The goal's logic is goal/'s, the same as in the ROS node. A thread plans, another one is the body's.
Knows no ROS, no network and no simulator.
"""

import contextlib
import itertools
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from emu_planner.console.robot import (
    Note,
    Picture,
    Refused,
    Snapshot,
    StepView,
    Views,
    encode_jpeg,
    said_of,
    views_of_keyframe,
    views_of_observation,
)
from emu_planner.goal.feed import CameraFeed
from emu_planner.goal.goal import PlanGoal
from emu_planner.goal.states import (
    Decision,
    Ending,
    Feedback,
    GoalLimits,
    GoalRequest,
    Look,
    Phase,
    PlannedStep,
    PlanView,
    RefusedError,
    Result,
    Review,
    StepState,
)
from emu_planner.plan import (
    ErrorCode,
    Event,
    Frame,
    FrameSource,
    Generation,
    Observation,
    Outcome,
    PlanError,
    Planner,
    StepOutcome,
    Stop,
    Task,
)

# how long a new goal lets the planner's previous call wind down, s
_WIND_DOWN_S = 2.0
_LONGEST_JOURNAL = 200


@dataclass(frozen=True)
class LocalLimits:
    """Settings of a LocalRobot; times in seconds."""

    # a picture that arrived longer ago is not planned from, and the page says so
    observation_max_age_s: float = 2.0
    # wait for a picture that is fresh
    observation_timeout_s: float = 10.0
    # an approved step that the body has not started by then expires
    subgoal_validity_s: float = 30.0
    # a step that nobody reviews
    review_timeout_s: float = 3600.0
    # one whole plan
    time_limit_s: float = 7200.0
    # failed or expired steps in a row that end a plan
    max_failures: int = 3
    # how long a plan bears with a service that is away
    reconnect_patience_s: float = 60.0
    # most steps of a plan
    max_subgoals: int = 40


class Body(Protocol):
    """What carries a step out."""

    def carry_out(self, words: str, withdrawn: Callable[[], bool]) -> tuple[bool, str]:
        """Do it; blocks. Whether it succeeded, and why not. Stops where it is once `withdrawn()`."""
        ...


class LocalRobot:
    """See the module's text; a Robot.

    Args:
        feed: filled by whoever owns the cameras.
        body: carries steps out, in a thread of this robot.
    """

    def __init__(
        self,
        planner: Planner,
        feed: CameraFeed,
        body: Body,
        *,
        robot: str,
        planner_name: str,
        limits: LocalLimits | None = None,
    ) -> None:
        self._planner, self._feed, self._body = _Watched(planner), feed, body
        self._limits = limits or LocalLimits()
        self._epochs = itertools.count(1)
        # review, hold and plan are one at a time; never taken by a Listener's call
        self._commands = threading.Lock()
        self._goal: PlanGoal | None = None
        self._worker: threading.Thread | None = None
        self._board = _Board(Snapshot(robot, planner_name))
        self._encoded: dict[str, tuple[Frame, Picture]] = {}
        self._offers: queue.Queue[tuple[PlanGoal, PlannedStep] | None] = queue.Queue()
        self._mover = threading.Thread(target=self._move, name="console-body", daemon=True)
        self._mover.start()

    # -- what is seen -------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """See Robot."""
        self._board.change(trouble=self._trouble())
        return self._board.snapshot

    def frames(self) -> Views:
        """See Robot."""
        views = []
        for camera in self._feed.cameras:
            try:
                frame = self._feed.take((camera,)).frames[0]
            except PlanError:
                continue  # nothing yet: `trouble` says so
            known = self._encoded.get(camera)
            if known is None or known[0].rgb is not frame.rgb:
                known = self._encoded[camera] = (frame, encode_jpeg(frame.rgb))
            views.append((camera, known[1]))
        return tuple(views)

    # -- what is done -------------------------------------------------------------------------

    def plan(self, sentence: str, operator: str) -> None:
        """See Robot."""
        with self._commands:
            now = self._board.snapshot
            if now.hold:
                raise Refused(f"The robot is held ({now.hold}). Re-arm it first.")
            if self._goal is not None and not self._goal.has_ended:
                raise Refused("A plan is in work. Stop it first.")
            self._goal = goal = self._make_goal(sentence, operator)
            before = self._worker
            self._worker = threading.Thread(
                target=_work, args=(goal, before), name="console-goal", daemon=True
            )
            self._worker.start()
            if self._board.snapshot.hold:  # it came while the plan began
                goal.end(Ending.HELD, self._board.snapshot.hold)

    def review(self, step: int, epoch: int, decision: Decision, text: str, operator: str) -> None:
        """See Robot."""
        with self._commands:
            goal = self._goal
            if goal is None:
                raise Refused("There is no plan.")
            try:
                with self._board.decides(decision, operator):
                    goal.review(epoch, step, decision, text, operator)
            except (RefusedError, ValueError) as error:
                raise Refused(self._board.explain(step, str(error))) from error
            self._board.note(operator, said_of(decision, step, text))

    def stop(self, operator: str) -> None:
        """See Robot."""
        with self._commands:
            if self._goal is None or self._goal.has_ended:
                raise Refused("There is no plan to stop.")
            self._goal.end(Ending.CANCELED, f"stopped by {operator}")
            self._board.note(operator, "stopped the plan")

    def hold(self, operator: str) -> None:
        """See Robot."""
        # not behind a command that waits: the hold is seen by every plan that begins later
        self._board.change(hold=f"held by {operator}", held_by=operator)
        goal = self._goal
        if goal is not None:
            goal.end(Ending.HELD, f"held by {operator}")
        self._board.note(operator, "HOLD")

    def rearm(self, operator: str) -> None:
        """See Robot."""
        with self._commands:
            if not self._board.snapshot.hold:
                raise Refused("There is no hold.")
            self._board.change(hold="", held_by="")
            self._board.note(operator, "re-armed the robot")

    def close(self) -> None:
        """See Robot."""
        if self._goal is not None:
            self._goal.end(Ending.CANCELED, "the console ended")
        self._offers.put(None)
        for thread in (self._mover, self._worker):
            if thread is not None:
                thread.join(_WIND_DOWN_S)

    # -- inside -------------------------------------------------------------------------------

    def _make_goal(self, sentence: str, operator: str) -> PlanGoal:
        limits = self._limits
        try:
            task = Task(sentence.strip(), Generation(max_subgoals=limits.max_subgoals))
        except PlanError as error:
            raise Refused(error.message) from error
        plan_id = uuid.uuid4()
        request = GoalRequest(plan_id.bytes, task, Review.EACH, True, limits.time_limit_s, self._feed.cameras)
        voice = _Voice(self._board, self._planner, self._offers)
        goal = PlanGoal(
            self._planner,
            self._feed,
            request,
            limits=GoalLimits(
                limits.observation_timeout_s,
                limits.observation_max_age_s,
                limits.subgoal_validity_s,
                limits.review_timeout_s,
                limits.max_failures,
                limits.reconnect_patience_s,
            ),
            listener=voice,
            next_epoch=partial(next, self._epochs),
            now_s=time.time,
        )
        voice.goal = goal
        self._board.begin(plan_id.hex, task.instruction, operator)
        return goal

    def _move(self) -> None:
        """The body's thread: one step on offer after the other."""
        while (offer := self._offers.get()) is not None:
            goal, made = offer
            try:
                goal.report(made.epoch, made.step.index, Outcome.STARTED)
            except RefusedError:
                continue  # withdrawn before anything moved
            try:
                done, detail = self._body.carry_out(made.step.subgoal, partial(_has_ended, goal))
            except Exception as error:
                done, detail = False, f"defect in the body: {error!r}"
            try:
                goal.report(
                    made.epoch, made.step.index, Outcome.SUCCEEDED if done else Outcome.FAILED, detail
                )
            except RefusedError:
                continue  # the plan ended meanwhile, and the body stopped

    def _trouble(self) -> str:
        blind = [
            camera
            for camera in self._feed.cameras
            if self._feed.age_s(camera) > self._limits.observation_max_age_s
        ]
        return f"no picture from camera {', '.join(blind)}" if blind else ""


def _has_ended(goal: PlanGoal) -> bool:
    return goal.has_ended


def _work(goal: PlanGoal, before: threading.Thread | None) -> None:
    if before is not None:
        before.join(_WIND_DOWN_S)
    goal.run()


class _Watched:
    """A Planner that remembers which observation was planned from."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.observation: Observation | None = None

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        self.observation = None
        return self._planner.plan(task, _WatchedFrames(frames, self), history, stop=stop)


@dataclass(frozen=True)
class _WatchedFrames:
    frames: FrameSource
    watch: _Watched

    def newest(self, timeout_s: float = 0.0) -> Observation:
        """See plan.FrameSource."""
        self.watch.observation = observation = self.frames.newest(timeout_s)
        return observation


class _Board:
    """The snapshot, replaced at each change; who decided what is noted here."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._lock = threading.RLock()
        self.snapshot = snapshot
        self._deciding: tuple[Decision, str] | None = None

    def change(self, **fields: object) -> None:
        """Replace what differs."""
        with self._lock:
            if any(getattr(self.snapshot, name) != value for name, value in fields.items()):
                self.snapshot = replace(self.snapshot, **fields)  # type: ignore[arg-type]

    def begin(self, plan_id: str, task: str, operator: str) -> None:
        """A new plan in place of the one before."""
        with self._lock:
            now = self.snapshot
            fresh = Snapshot(now.robot, now.planner, now.trouble, now.hold, now.held_by)
            self.snapshot = replace(fresh, plan_id=plan_id, task=task, asked_by=operator)
            self.note(operator, f"asked: {task}")

    @contextlib.contextmanager
    def decides(self, decision: Decision, operator: str) -> Iterator[None]:
        """While in this context, what becomes of a step that waited is that person's decision."""
        self._deciding = (decision, operator)
        try:
            yield
        finally:
            self._deciding = None

    def note(self, who: str, what: str) -> None:
        """Write into the journal."""
        with self._lock:
            journal = (*self.snapshot.journal, Note(time.time(), who, what))[-_LONGEST_JOURNAL:]
            self.snapshot = replace(self.snapshot, journal=journal)

    def explain(self, step: int, refusal: str) -> str:
        """A refusal, with who was faster, if somebody was."""
        seen = next((s for s in self.snapshot.steps if s.index == step), None)
        if seen is None or not seen.decided_by:
            return f"Not done: {refusal}."
        return f"Not done: {seen.decided_by} was faster ({seen.decision}). {refusal}."

    def show(self, plan: PlanView, before: Views | None = None) -> None:
        """The plan as it stands; `before` belongs to steps that are new."""
        with self._lock:
            known = {step.index: step for step in self.snapshot.steps}
            steps = tuple(self._step(made, known.get(made.step.index), before) for made in plan.steps)
            self.change(epoch=plan.epoch, steps=steps)

    def _step(self, made: PlannedStep, known: StepView | None, before: Views | None) -> StepView:
        pending = made.state is StepState.PENDING_REVIEW
        if known is None or (before is not None and pending):
            keyframe = views_of_keyframe(made.step.keyframe)
            known = StepView(
                made.step.index, made.epoch, "", made.state, before=before or (), keyframe=keyframe
            )
        elif self._deciding is not None and known.state is StepState.PENDING_REVIEW and not pending:
            # nothing but a person's decision leads out of that state
            known = replace(known, decided_by=self._deciding[1], decision=self._deciding[0].value)
        return replace(
            known,
            epoch=made.epoch,
            words=made.step.subgoal,
            state=made.state,
            original=made.original,
            detail=made.detail,
            confidence=made.step.confidence,
        )


class _Voice:
    """A goal's Listener: writes on the board, and hands approved steps to the body."""

    goal: PlanGoal

    def __init__(
        self, board: _Board, planner: _Watched, offers: "queue.Queue[tuple[PlanGoal, PlannedStep] | None]"
    ) -> None:
        self._board, self._planner, self._offers = board, planner, offers

    def plan_changed(self, plan: PlanView) -> None:
        """See Listener."""
        self._board.show(plan)

    def step_made(self, plan: PlanView, made: PlannedStep) -> None:
        """See Listener."""
        if made.state is StepState.PENDING_REVIEW:
            self._board.show(plan, views_of_observation(self._planner.observation))

    def step_offered(self, plan: PlanView, offered: PlannedStep) -> None:
        """See Listener."""
        self._board.show(plan)
        if offered.state is StepState.APPROVED:
            self._offers.put((self.goal, offered))

    def step_watched(self, plan: PlanView, made: PlannedStep, look: Look) -> None:
        """See Listener; this robot's limits ask for no looks."""

    def progressed(self, plan: PlanView, feedback: Feedback) -> None:  # noqa: ARG002 - Listener
        """See Listener."""
        self._board.change(
            phase=feedback.phase,
            index=feedback.index,
            words=feedback.text,
            share=round(feedback.keyframe_share, 3),
            message="" if feedback.phase is not Phase.CONNECTING else self._board.snapshot.message,
            queue_position=feedback.queue_position,
        )

    def link_lost(self, error: ErrorCode) -> None:
        """See Listener."""
        words = f"the planner is away ({error.value.replace('_', ' ')}); it is asked again"
        self._board.change(phase=Phase.CONNECTING, words="", message=words)

    def ended(self, result: Result) -> None:
        """See Listener."""
        self._board.change(phase=None, words="", share=0.0, ending=result.ending, message=result.message)
