"""The action execute_subgoal around any body, and the same rules for planner/active_subgoal.

A subgoal comes as an action's goal, from a behaviour tree for example, or from the planner's topic.
Either way the rules decide, the planner hears STARTED and agrees before anything moves, and it
hears the outcome. A hold, a later epoch, the planner's end and the action's cancellation stop the
body. One subgoal at a time; the body works in a thread of its own. Knows no body and no plan.
"""

import threading
from collections.abc import Callable
from typing import Any

from emu_planner_msgs.action import ExecuteSubgoal
from emu_planner_msgs.msg import Keyframe, PlannerStatus, Subgoal
from emu_planner_msgs.srv import ReportOutcome
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future

from emu_planner.executor.rules import Refusal, SubgoalRules, key_of

# how long the planner may take to answer a report, s
_REPORT_TIMEOUT_S = 3.0
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_ALL = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class StoppedError(Exception):
    """The subgoal must not be carried out any further: stand still."""


class Work:
    """One subgoal in work, as its body sees it; thread-safe."""

    def __init__(self, goal: ExecuteSubgoal.Goal, handle: ServerGoalHandle | None = None) -> None:
        self.subgoal: Subgoal = goal.subgoal
        # what success looks like; image.data is empty when there is none, or it has not come
        self.keyframe: Keyframe = goal.keyframe
        self.done: Future = Future()
        self._handle = handle
        self._refusal: Refusal | None = None

    @property
    def stopped(self) -> Refusal | None:
        """Why the body has to stop; None: it may go on."""
        if self._refusal is None and self.is_cancelled:
            return Refusal(ExecuteSubgoal.Result.FAILED, "cancelled by the action's client")
        return self._refusal

    @property
    def is_cancelled(self) -> bool:
        """Whether the action's client wants it to stop."""
        return self._handle is not None and self._handle.is_cancel_requested

    def check(self) -> None:
        """Call often while moving. StoppedError: stand still and let it pass."""
        if self.stopped is not None:
            raise StoppedError(self.stopped.words)

    def stop(self, refusal: Refusal) -> None:
        """Make the body stop; the first reason stays, but a hold goes before others."""
        if self._refusal is None or refusal.code == ExecuteSubgoal.Result.HELD:
            self._refusal = refusal

    def tell_progress(self, share: float) -> None:
        """The body's own estimate, [0, 1], for the action's client."""
        if self._handle is not None:
            self._handle.publish_feedback(ExecuteSubgoal.Feedback(progress=share))


Body = Callable[[Work], tuple[bool, str]]


class SubgoalExecutor:
    """See the module's text.

    Args:
        node: who offers the action; its namespace is the planner's.
        body: carries one subgoal out and returns whether it succeeded, and why not. It calls
            `check` of its Work often, and lets StoppedError pass once it stands still.
        obey_topic: also carry out what planner/active_subgoal offers. False: only the action's goals;
            the topic is read for its epochs all the same.
    """

    def __init__(self, node: Node, body: Body, *, obey_topic: bool = True) -> None:
        self._node, self._body, self._obey_topic = node, body, obey_topic
        self._rules = SubgoalRules()
        self._lock = threading.Lock()  # guards the rules and what follows
        self._work: Work | None = None
        self._keyframe = Keyframe()
        # the hold first: where it arrives together with a later epoch, it is the reason
        node.create_subscription(PlannerStatus, "planner/status", self._take_status, _LATCHED)
        node.create_subscription(Keyframe, "planner/keyframes", self._take_keyframe, _ALL)
        events = SubscriptionEventCallbacks(matched=self._planner_matched)
        node.create_subscription(
            Subgoal, "planner/active_subgoal", self._take_subgoal, _LATCHED, event_callbacks=events
        )
        self._reports = node.create_client(ReportOutcome, "planner/report_outcome")
        self._action = ActionServer(
            node,
            ExecuteSubgoal,
            "execute_subgoal",
            self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    # -- what the planner says ----------------------------------------------------------------

    def _take_status(self, status: PlannerStatus) -> None:
        with self._lock:
            self._rules.hold_reason = (status.hold_reason or "no reason given") if status.hold else ""
            self._interrupt()

    def _take_keyframe(self, keyframe: Keyframe) -> None:
        with self._lock:
            self._keyframe = keyframe

    def _take_subgoal(self, subgoal: Subgoal) -> None:
        with self._lock:
            self._rules.see(subgoal)
            self._interrupt()
            keyframe = self._keyframe
        if self._obey_topic and subgoal.state == Subgoal.STATE_APPROVED:
            if key_of(keyframe) != key_of(subgoal):
                keyframe = Keyframe()
            refusal = self._begin(Work(ExecuteSubgoal.Goal(subgoal=subgoal, keyframe=keyframe)))
            if refusal is not None:
                self._node.get_logger().warning(
                    f"{subgoal.instruction!r} is not carried out: {refusal.words}"
                )

    def _planner_matched(self, status: Any) -> None:
        # a planner that was killed stays matched until its lease ends, beside the one that came after it
        if status.current_count_change >= 0:
            return
        with self._lock:
            self._rules.forget()
            if self._work is not None:
                self._work.stop(Refusal(ExecuteSubgoal.Result.UNKNOWN, "the planner went away"))

    def _interrupt(self) -> None:
        if self._work is not None and (why := self._rules.interruption(self._work.subgoal)) is not None:
            self._work.stop(why)

    def stop(self, timeout_s: float) -> None:
        """The process ends: make the body stand still, and wait so long for it. Not in a callback."""
        with self._lock:
            work = self._work
            if work is not None:
                work.stop(Refusal(ExecuteSubgoal.Result.UNKNOWN, "the executor was told to end"))
        if work is not None:
            _wait(work.done, timeout_s)

    # -- the action ---------------------------------------------------------------------------

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteSubgoal.Result:
        work = Work(handle.request, handle)
        refusal = self._begin(work)
        if refusal is None:
            refusal = await work.done
        if refusal is None:
            handle.succeed()
            return ExecuteSubgoal.Result(error_code=ExecuteSubgoal.Result.NONE)
        if work.is_cancelled:
            handle.canceled()
        else:
            handle.abort()
        return ExecuteSubgoal.Result(error_code=refusal.code, error_msg=refusal.words)

    # -- work ---------------------------------------------------------------------------------

    def _begin(self, work: Work) -> Refusal | None:
        """Start the body's thread unless the rules are against it."""
        now_s = self._node.get_clock().now().nanoseconds / 1e9
        with self._lock:
            if self._work is not None and not self._work.stopped:
                words = f"{self._work.subgoal.instruction!r} is in work"
                return Refusal(ExecuteSubgoal.Result.UNKNOWN, words)
            refusal = self._rules.judge(work.subgoal, now_s)
            if refusal is None:
                before, self._work = self._work, work
                threading.Thread(
                    target=self._carry_out, args=(work, before), name="executor-body", daemon=True
                ).start()
            return refusal

    def _carry_out(self, work: Work, before: Work | None) -> None:
        """The body's thread, from STARTED to the outcome; one that was stopped stands still first."""
        if before is not None:
            _wait(before.done)
        refusal: Refusal | None
        try:
            refusal = self._try(work)
        except Exception as error:
            # the planner and the action's client must hear of a defect too; the traceback is logged
            refusal = Refusal(ExecuteSubgoal.Result.FAILED, f"defect in the executor: {error!r}")
            self._report(work, ReportOutcome.Request.FAILED, refusal.words)
            raise
        finally:
            with self._lock:
                if self._work is work:
                    self._work = None
            words = work.subgoal.instruction
            self._node.get_logger().info(f"{words!r}: {'done' if refusal is None else refusal.words}")
            work.done.set_result(refusal)
            # without it the awaiting action would sleep until the executor's next event
            if self._node.executor is not None:
                self._node.executor.wake()

    def _try(self, work: Work) -> Refusal | None:
        refusal = self._report(work, ReportOutcome.Request.STARTED)
        if refusal is not None:
            return refusal
        try:
            work.check()
            succeeded, detail = self._body(work)
        except StoppedError:
            why = work.stopped
            assert why is not None, "a body raises StoppedError only when its Work does"
            if work.is_cancelled:
                # the planner did not ask for it, so it has to hear
                self._report(work, ReportOutcome.Request.FAILED, why.words)
            return why
        if succeeded:
            return self._report(work, ReportOutcome.Request.SUCCEEDED, detail)
        self._report(work, ReportOutcome.Request.FAILED, detail)
        return Refusal(ExecuteSubgoal.Result.FAILED, detail)

    def _report(self, work: Work, outcome: int, detail: str = "") -> Refusal | None:
        """Tell the planner; None when it agrees. Blocks, so never in a callback."""
        subgoal = work.subgoal
        request = ReportOutcome.Request(
            plan_id=subgoal.plan_id,
            epoch=subgoal.epoch,
            index=subgoal.index,
            outcome=outcome,
            detail=detail,
        )
        answer = self._reports.call_async(request)
        if not _wait(answer, _REPORT_TIMEOUT_S):
            self._reports.remove_pending_request(answer)
            words = "the planner does not answer planner/report_outcome"
            self._node.get_logger().error(words)
            return Refusal(ExecuteSubgoal.Result.UNKNOWN, words)
        if answer.result().success:
            return None
        stale = answer.result().epoch > subgoal.epoch
        code = ExecuteSubgoal.Result.STALE_EPOCH if stale else ExecuteSubgoal.Result.UNKNOWN
        return Refusal(code, f"the planner refused a report: {answer.result().error_msg}")


def _wait(future: Future, timeout_s: float | None = None) -> bool:
    """Whether the future was done in time; not for an executor's threads."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return done.wait(timeout_s)
