"""The planner node: a Planner behind topics, services and the action ~/plan_task.

Declares, subscribes, converts and calls; goal.py does the work in a thread of its own. It
proposes and never moves anything: there is no publisher of motion here. An executor obeys
~/active_subgoal, in state APPROVED, before valid_until, never with an epoch lower than one seen.
Knows no model.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from functools import partial

import rclpy
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import PlannerStatus
from emu_planner_msgs.srv import GetPlan, GetServerInfo, ReportOutcome, ReviewSubgoal
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.service_introspection import ServiceIntrospectionState
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from emu_planner.goal.feed import CameraFeed
from emu_planner.goal.goal import PlanGoal
from emu_planner.goal.health import HealthLimits
from emu_planner.goal.states import Ending, GoalLimits, Result
from emu_planner.plan import PlanError, Planner
from emu_planner.ros import convert, services
from emu_planner.ros.cameras import Cameras
from emu_planner.ros.diagnostics import diagnose
from emu_planner.ros.outputs import ALL, Outputs
from emu_planner.ros.params import PlannerParams, declare_params, refuse_old_names
from emu_planner.ros.spinning import spun, wait_until_told_to_end, where_it_spins
from emu_planner.ros.voice import GoalVoice, StatusBoard
from emu_planner.wire.client import ClientConfig, RemotePlanner, ServerInfo
from emu_planner.wire.credentials import Credentials
from emu_planner.wire.images import Encoding, ImageConfig
from emu_planner.wire.tracing import Tracing

# how long a new goal lets the planner's previous call wind down, s
_WIND_DOWN_S = 1.0


class PlannerNode(LifecycleNode):
    """See the module's text.

    Args:
        make_planner: builds the planner from the node's parameters, once.
    """

    def __init__(self, make_planner: Callable[[PlannerParams], Planner]) -> None:
        super().__init__("planner")
        refuse_old_names(self._parameter_overrides)
        self._params = declare_params(self)
        self._planner = make_planner(self._params)
        self._feed = _feed(self._params)
        self._epochs = itertools.count(1)
        self._lock = threading.Lock()  # guards what follows
        self._active = False
        self._hold_reason = ""
        self._goal: PlanGoal | None = None
        self._cancels: set[bytes] = set()
        self._worker: threading.Thread | None = None
        self._running = threading.Semaphore(0)
        self._cameras: Cameras | None = None
        self._board = StatusBoard(self._feed)
        if isinstance(self._planner, RemotePlanner):
            # it comes back by itself; until then the operator sees why nothing moves
            self._planner.link_lost = self._note_lost_link
            self._planner.greeted = self._note_server
        if self._params.autostart:
            self._bring_up()

    def _bring_up(self) -> None:
        """Configure and activate. ValueError: it was refused."""
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise ValueError("the planner node could not be configured and activated; see its log above")

    # -- lifecycle ----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002
        """Offer topics, services and the action; goals are refused until active."""
        self._outputs = Outputs(self, self._params.subgoal_validity)
        self._board.show_on(self._outputs)
        group = MutuallyExclusiveCallbackGroup()
        self._offers = [
            self.create_service(kind, name, callback, callback_group=group)
            for kind, name, callback in (
                (ReviewSubgoal, "~/review_subgoal", self._review),
                (ReportOutcome, "~/report_outcome", self._report),
                (SetBool, "~/hold", self._set_hold),
                (Trigger, "~/rearm", self._rearm),
            )
        ]
        for service in self._offers:
            # requests and answers on <name>/_service_event, for whoever records or watches
            service.configure_introspection(self.get_clock(), ALL, ServiceIntrospectionState.CONTENTS)
        # it waits for the service, and nobody shall wait behind it
        alone = MutuallyExclusiveCallbackGroup()
        self._offers += [
            self.create_service(GetPlan, "~/get_plan", self._get_plan, callback_group=group),
            self.create_service(GetServerInfo, "~/server_info", self._server_info, callback_group=alone),
        ]
        self._action = ActionServer(
            self,
            PlanTask,
            "~/plan_task",
            self._execute,
            goal_callback=self._judge_goal,
            cancel_callback=self._cancel,
            callback_group=ReentrantCallbackGroup(),
        )
        # a simulation that stands still, or has not begun, is no reason to fall silent
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._beat = self.create_timer(1.0, self._tell_state, clock=steady)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the cameras and accept goals; the server is asked at the first goal."""
        self._cameras = Cameras(self, self._params.cameras, self._feed, self._outputs, self._now_s)
        with self._lock:
            self._active = True
        self._board.publish()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the goal, stop listening, refuse goals."""
        self._stop_planning()
        self._board.publish()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002
        """Take back what configure offered."""
        self._withdraw_offers()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state: end the goal and take everything back."""
        self._stop_planning()
        if state.label != "unconfigured":
            self._withdraw_offers()
        return TransitionCallbackReturn.SUCCESS

    def end(self, executor: Executor) -> None:
        """The process ends: give the goal its result, stop listening, and leave the service in order."""
        self._stop_planning()
        with contextlib.suppress(TimeoutError):
            # the result is sent by a task that waits behind the goal's own
            where_it_spins(executor, time.sleep, 0.0, timeout_s=_WIND_DOWN_S)
        if isinstance(self._planner, RemotePlanner):
            self._planner.close()
        if self._worker is not None:
            self._worker.join(_WIND_DOWN_S)

    def _stop_cameras(self) -> None:
        if self._cameras is not None:
            self._cameras.stop()
            self._cameras = None

    def _stop_planning(self) -> None:
        self._stop_cameras()
        self._feed.clear()
        with self._lock:
            self._active, goal = False, self._goal
        if goal is not None and not goal.has_ended:
            goal.end(Ending.DEACTIVATED, "the planner was deactivated")
            # its action answers from another thread; the action server must live until then
            self._running.acquire(timeout=_WIND_DOWN_S)

    def _withdraw_offers(self) -> None:
        self.destroy_timer(self._beat)
        self._action.destroy()
        for service in self._offers:
            self.destroy_service(service)
        self._outputs.destroy()

    # -- the action ---------------------------------------------------------------------------

    def _judge_goal(self, goal: PlanTask.Goal) -> GoalResponse:
        with self._lock:
            reason = "it is not active; activate it first" if not self._active else ""
            if self._hold_reason:
                reason = f"it is held ({self._hold_reason}); call ~/rearm first"
        if reason:
            self.get_logger().warning(f"goal {goal.instruction!r} rejected by the planner: {reason}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        plan_id = bytes(handle.goal_id.uuid)
        with self._lock:
            self._cancels.add(plan_id)
            goal = self._goal
        if goal is not None and goal.request.plan_id == plan_id:
            goal.end(Ending.CANCELED, "cancelled by its client")
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> PlanTask.Result:
        self._outputs.asked(handle)
        result = await self._plan_for(handle)
        self._outputs.answered(handle, result)
        return result

    async def _plan_for(self, handle: ServerGoalHandle) -> PlanTask.Result:
        plan_id = bytes(handle.goal_id.uuid)
        try:
            request = convert.goal_to_request(handle.request, plan_id, self._params)
        except PlanError as error:
            handle.abort()
            return PlanTask.Result(error_code=convert.ERROR_CODES[error.code], error_msg=error.message)
        done: Future = Future()
        goal = PlanGoal(
            self._planner,
            self._feed,
            request,
            limits=_limits(self._params),
            listener=GoalVoice(self._outputs, self._board, handle, done, wake=self._wake),
            next_epoch=partial(next, self._epochs),
            now_s=self._now_s,
        )
        self._begin(goal)
        result: Result = await done
        with self._lock:
            self._cancels.discard(plan_id)
        self.get_logger().info(
            f"plan {result.ending.value} after {len(result.plan.steps)} subgoals, {result.seconds:.1f} s"
            + (f": {result.message}" if result.message else "")
        )
        _conclude(handle, result.ending)
        if result.ending is Ending.DEACTIVATED:
            self._running.release()
        return convert.result_to_msg(result, self._outputs.frame_ids, self._outputs.model)

    def _begin(self, goal: PlanGoal) -> None:
        """Make it the node's goal, ending the one before, and start its thread."""
        with self._lock:
            before, self._goal = self._goal, goal
            cancelled = goal.request.plan_id in self._cancels
            active, hold_reason = self._active, self._hold_reason
            worker = threading.Thread(
                target=self._work, args=(goal, self._worker), name="planner-goal", daemon=True
            )
            self._worker = worker
        if before is not None:
            before.end(Ending.PREEMPTED, "a newer goal took its place")
        # what came between acceptance and now
        if cancelled:
            goal.end(Ending.CANCELED, "cancelled by its client")
        elif hold_reason:
            goal.end(Ending.HELD, hold_reason)
        elif not active:
            goal.end(Ending.DEACTIVATED, "the planner was deactivated")
        worker.start()

    def _work(self, goal: PlanGoal, before: threading.Thread | None) -> None:
        """A goal's thread; lets the planner's call for the goal before wind down first."""
        if before is not None:
            before.join(_WIND_DOWN_S)
        goal.run()
        # the wake-up at the goal's end is lost if the executor looked at the action just then
        self._wake()

    # -- services -----------------------------------------------------------------------------

    def _review(
        self, request: ReviewSubgoal.Request, response: ReviewSubgoal.Response
    ) -> ReviewSubgoal.Response:
        return services.review(self._goal_of(request.plan_id), request, response)

    def _report(
        self, request: ReportOutcome.Request, response: ReportOutcome.Response
    ) -> ReportOutcome.Response:
        return services.report(self._goal_of(request.plan_id), request, response)

    def _get_plan(self, request: GetPlan.Request, response: GetPlan.Response) -> GetPlan.Response:
        with self._lock:
            goal = self._goal
        return services.tell_plan(goal, self._outputs, request, response)

    def _server_info(
        self,
        request: GetServerInfo.Request,  # noqa: ARG002
        response: GetServerInfo.Response,
    ) -> GetServerInfo.Response:
        return services.tell_server(self._planner, response)

    def _set_hold(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if not request.data:
            response.message = "a hold is released by ~/rearm only"
            return response
        reason = "held by ~/hold"
        with self._lock:
            self._hold_reason, goal = reason, self._goal
        if goal is not None:
            goal.end(Ending.HELD, reason)
        self._board.note_hold(reason)
        response.success, response.message = True, "held; release with ~/rearm"
        return response

    def _rearm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:  # noqa: ARG002
        with self._lock:
            response.success, self._hold_reason = bool(self._hold_reason), ""
        response.message = "goals are accepted again" if response.success else "there is no hold"
        self._board.note_hold("")
        return response

    def _tell_state(self) -> None:
        status = self._board.publish()
        self._outputs.diagnostics(
            diagnose(
                self.get_fully_qualified_name().lstrip("/"),
                self._params.server,
                status,
                self._feed.states() if self._active else [],
                self._params.observation_max_age,
                self._board.watched,
                self._board.trouble,
            )
        )

    # -- small things -------------------------------------------------------------------------

    def _wake(self) -> None:
        # without it an action that awaits its goal would sleep until the executor's next event
        if self.executor is not None:
            self.executor.wake()

    def _note_lost_link(self, error: PlanError) -> None:
        # without its traceback, whose frames hold pictures
        why = PlanError(error.code, error.message)
        self._board.note_link(PlannerStatus.LINK_DISCONNECTED, why=why)

    def _note_server(self, server: ServerInfo) -> None:
        self._outputs.model = convert.ModelName(server.model, server.model_version)

    def _goal_of(self, plan_id: object) -> PlanGoal | None:
        with self._lock:
            goal = self._goal
        return goal if goal is not None and goal.request.plan_id == convert.id_of(plan_id) else None

    def _now_s(self) -> float:
        return float(self.get_clock().now().nanoseconds / 1_000_000_000)


def _conclude(handle: ServerGoalHandle, ending: Ending) -> None:
    """Put the action into its final state."""
    if ending is Ending.CANCELED:
        # rclpy moves the goal to CANCELING only after its cancel callback, which ended the goal
        deadline = time.monotonic() + _WIND_DOWN_S
        while not handle.is_cancel_requested and time.monotonic() < deadline:
            time.sleep(0.001)
        handle.canceled()
    elif ending is Ending.COMPLETE:
        handle.succeed()
    else:
        handle.abort()


def _feed(params: PlannerParams) -> CameraFeed:
    return CameraFeed(
        tuple(camera.name for camera in params.cameras),
        HealthLimits(params.camera_frozen_after, params.camera_dark_level),
        {camera.name: (camera.width, camera.height) for camera in params.cameras},
    )


def _limits(params: PlannerParams) -> GoalLimits:
    return GoalLimits(
        observation_timeout_s=params.observation_timeout,
        observation_max_age_s=params.observation_max_age,
        subgoal_validity_s=params.subgoal_validity,
        review_timeout_s=params.review_timeout,
        max_failures=params.max_failures,
        reconnect_patience_s=params.reconnect_patience,
        progress_period_s=params.progress_period,
        drift_patience=params.drift_patience,
        replan_on_drift=params.replan_on_drift,
    )


def make_remote_planner(params: PlannerParams) -> Planner:
    """The planner of a rig: the service at the parameter `server`."""
    images = ImageConfig(Encoding[params.frame_encoding.upper()], params.jpeg_quality)
    config = ClientConfig(
        connect_timeout_s=params.connect_timeout,
        observation_timeout_s=params.observation_timeout,
        resume_patience_s=max(ClientConfig.resume_patience_s, params.reconnect_patience),
        images=images,
        # no parameters: any node can read those
        credentials=Credentials.from_environment(),
        tracing=Tracing.from_environment("emu_planner.node"),
    )
    return RemotePlanner(params.server, config)


def run_node(make_planner: Callable[[PlannerParams], Planner], args: list[str] | None = None) -> None:
    """Spin one planner node until it is told to end.

    Raises:
        SystemExit: 2: parameters or credentials are wrong; 1: a callback failed, its traceback is printed.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    executor = MultiThreadedExecutor(num_threads=4)
    try:
        node = PlannerNode(make_planner)
    except (ValueError, ParameterException) as error:
        rclpy.logging.get_logger("planner").fatal(str(error))
        rclpy.try_shutdown()
        raise SystemExit(2) from error
    executor.add_node(node)
    with spun(executor) as thread:
        told = wait_until_told_to_end(thread)
        node.end(executor)
    rclpy.try_shutdown()
    if not told:
        raise SystemExit(1)


def main(args: list[str] | None = None) -> None:
    """Entry point of the rig's planner node."""
    run_node(make_remote_planner, args)


if __name__ == "__main__":
    main()
