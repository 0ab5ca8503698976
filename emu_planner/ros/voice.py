"""What a goal and the node have to say, brought to the publishers and to the action's client.

Knows no planner, no service and no camera's topic.
"""

import threading
import time
from collections.abc import Callable

from emu_planner_msgs.msg import PlannerStatus
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from emu_planner.goal.feed import CameraFeed
from emu_planner.goal.states import Ending, Feedback, Look, Phase, PlannedStep, PlanView, Result, StepState
from emu_planner.plan import ErrorCode, PlanError
from emu_planner.ros import convert
from emu_planner.ros.outputs import Outputs

_LINK_OF_ERROR = {
    ErrorCode.SERVER_UNAVAILABLE: PlannerStatus.LINK_DISCONNECTED,
    ErrorCode.INCOMPATIBLE_SERVER: PlannerStatus.LINK_DISCONNECTED,
    ErrorCode.UNAUTHENTICATED: PlannerStatus.LINK_DISCONNECTED,
    ErrorCode.MODEL_NOT_READY: PlannerStatus.LINK_MODEL_LOADING,
    ErrorCode.STALE_OBSERVATION: PlannerStatus.LINK_DEGRADED,
    ErrorCode.TIMEOUT: PlannerStatus.LINK_DEGRADED,
}


class StatusBoard:
    """The node's PlannerStatus, published at each change and whenever asked; thread-safe.

    The link is what the last goal learned: between goals nobody asks the server.
    """

    def __init__(self, feed: CameraFeed) -> None:
        self._feed = feed
        self._lock = threading.Lock()
        self._status = PlannerStatus()
        self._outputs: Outputs | None = None
        # the last look at the step that is carried out; None: none is, or it is not watched
        self.watched: Look | None = None
        # why the link is as it is; None: nothing is wrong, or nobody knows
        self.trouble: PlanError | None = None

    def show_on(self, outputs: Outputs) -> None:
        """Publish there from now on."""
        with self._lock:
            self._outputs = outputs

    def note_link(self, link: int, queue_position: int = 0, why: PlanError | None = None) -> None:
        """Keep the link's state, one of PlannerStatus.LINK_*, the place in the queue, and what is wrong."""
        with self._lock:
            self.trouble = why
            known = (self._status.link, self._status.queue_position)
            self._status.link, self._status.queue_position = link, queue_position
        if known != (link, queue_position):
            self.publish()

    def note_connecting(self) -> None:
        """A goal asks the server; one that answered the last time is not doubted."""
        if self._status.link != PlannerStatus.LINK_READY:
            self.note_link(PlannerStatus.LINK_CONNECTING)

    def note_hold(self, reason: str) -> None:
        """Keep why there is a hold; empty: none."""
        with self._lock:
            self._status.hold, self._status.hold_reason = bool(reason), reason
        self.publish()

    def note_first_subgoal(self, seconds: float) -> None:
        """Keep how long the last goal's first subgoal took."""
        with self._lock:
            self._status.time_to_first_subgoal = convert.s_to_duration(seconds)

    def publish(self) -> PlannerStatus:
        """Publish the status as it is now."""
        counts = self._feed.counts()
        with self._lock:
            status = self._status
            status.observation_age = convert.s_to_duration(counts.age_s)
            status.frames_received, status.frames_sent = counts.received, counts.sent
            status.frames_superseded = counts.superseded
            if self._outputs is not None:
                self._outputs.status(status)
            return status


class GoalVoice:
    """A goal's Listener: topics, the action's feedback, the status, and the result.

    Args:
        outputs: the node's publishers.
        board: the node's status.
        handle: the action's goal.
        done: gets the goal's Result.
        wake: makes the executor look at `done`.
    """

    def __init__(
        self,
        outputs: Outputs,
        board: StatusBoard,
        handle: ServerGoalHandle,
        done: Future,
        *,
        wake: Callable[[], None],
    ) -> None:
        self._outputs, self._board = outputs, board
        self._handle, self._done, self._wake = handle, done, wake
        self._begun_s = time.monotonic()
        self._has_step = False
        self._observed: object = ()

    def plan_changed(self, plan: PlanView) -> None:
        """See states.Listener; so are the others."""
        if plan.pictures is not self._observed:
            self._observed = plan.pictures
            self._outputs.observed(plan.pictures)
        self._outputs.plan(plan)

    def step_made(self, plan: PlanView, made: PlannedStep) -> None:
        """The keyframe's topics, and how long the first one took."""
        if not self._has_step:
            self._has_step = True
            self._board.note_first_subgoal(time.monotonic() - self._begun_s)
        self._board.note_link(PlannerStatus.LINK_READY)
        self._outputs.keyframe(plan, made)

    def step_offered(self, plan: PlanView, offered: PlannedStep) -> None:
        """The executor's topic."""
        if offered.state is not StepState.ACTIVE:
            self._board.watched = None
        self._outputs.active(plan, offered)

    def step_watched(self, plan: PlanView, made: PlannedStep, look: Look) -> None:
        """Its topic, and the node's diagnostics."""
        self._board.watched = look
        self._outputs.watched(plan, made, look)

    def progressed(self, plan: PlanView, feedback: Feedback) -> None:
        """The progress topic and its twin, the action's feedback."""
        message = self._outputs.progress(plan, feedback)
        self._handle.publish_feedback(convert.progress_to_feedback(message))
        if feedback.phase is Phase.CONNECTING:
            self._board.note_connecting()
        else:
            self._board.note_link(PlannerStatus.LINK_READY, feedback.queue_position)

    def link_lost(self, error: ErrorCode) -> None:
        """The link is away while the goal waits for it."""
        self._board.note_link(_LINK_OF_ERROR.get(error, PlannerStatus.LINK_DEGRADED))

    def ended(self, result: Result) -> None:
        """The link as this goal found it, and the action's result."""
        if result.error is not None and result.error in _LINK_OF_ERROR:
            why = PlanError(result.error, result.message)
            self._board.note_link(_LINK_OF_ERROR[result.error], why=why)
        elif result.ending is Ending.COMPLETE:
            self._board.note_link(PlannerStatus.LINK_READY)
        self._board.watched = None
        self._done.set_result(result)
        self._wake()
