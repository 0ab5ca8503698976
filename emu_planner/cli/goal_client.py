"""The operator's end of the ROS graph: wakes the planner node, sends one goal, hears what comes of it.

Callbacks run in a thread of their own and fill StepRecords under a lock; everything else is called
from the main thread, and every wait there has an end. Draws nothing and starts no process.
"""

import copy
import json
import math
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Keyframe, Plan, PlanProgress, Subgoal
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.action import ActionClient
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from unique_identifier_msgs.msg import UUID

from emu_planner.cli.pictures import Rgb
from emu_planner.cli.record import DemoError, StepRecord
from emu_planner.plan import Frame
from emu_planner.ros.asking import Question
from emu_planner.ros.convert import compressed_to_frame, frame_to_image, image_to_frame
from emu_planner.ros.outputs import ALL, LATCHED, NEWEST
from emu_planner.ros.spinning import where_it_spins

_POLL_S = 0.02
_SERVICE_TIMEOUT_S = 30.0
_PICTURE_RATE_HZ = 30.0
_STATES = {
    getattr(Subgoal, name): name.removeprefix("STATE_").lower().replace("_", " ")
    for name in dir(Subgoal)
    if name.startswith("STATE_")
} | {Subgoal.STATE_APPROVED: "planned", Subgoal.STATE_ACTIVE: "running"}
_OVER = (Subgoal.STATE_SUCCEEDED, Subgoal.STATE_FAILED, Subgoal.STATE_SKIPPED, Subgoal.STATE_EXPIRED)
_GENERATING = (PlanProgress.PHASE_GENERATING_TEXT, PlanProgress.PHASE_GENERATING_KEYFRAME)
PHASES = {
    PlanProgress.PHASE_CONNECTING: "looking",
    PlanProgress.PHASE_QUEUED: "waiting for the service",
    PlanProgress.PHASE_GENERATING_TEXT: "finding words",
    PlanProgress.PHASE_GENERATING_KEYFRAME: "imagining",
    PlanProgress.PHASE_WAITING_REVIEW: "waiting for a review",
    PlanProgress.PHASE_WAITING_OUTCOME: "the robot moves",
}


class GoalClient:
    """One goal's client; a context manager.

    Args:
        cameras: whose pictures are kept, left to right.
        check: called in every wait; raises when waiting has become pointless.
        namespace: of the nodes and the cameras' topics.
    """

    def __init__(self, cameras: tuple[str, ...], check: Callable[[], None], namespace: str = "") -> None:
        self._cameras, self._check = cameras, check
        self._lock = threading.Lock()  # guards what follows
        self._pictures: dict[str, Image] = {}
        self._steps: dict[int, StepRecord] = {}
        self._goal_id = b""
        self._sent_s = self._began_s = 0.0
        self._whole_s: dict[int, float] = {}  # when each step was planned
        self._closed_loop = True
        self.first_words_s: float | None = None
        self.first_keyframe_s: float | None = None
        self.phase = ""
        # SIGTERM and Ctrl-C belong to the demo
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("operator", namespace=namespace)
        for camera in cameras:
            self._node.create_subscription(Image, f"{camera}/image_raw", self._keep(camera), NEWEST)
        self._node.create_subscription(Keyframe, "planner/keyframes", self._take_keyframe, ALL)
        self._node.create_subscription(Plan, "planner/plan", self._take_plan, LATCHED)
        self._action = ActionClient(self._node, PlanTask, "planner/plan_task")
        self._change = self._node.create_client(ChangeState, "planner/change_state")
        self._evaluate = self._node.create_client(Trigger, "sim/evaluate")
        # made last and asked first: who has answered it knows all of the above (ros/asking.py)
        self._get_state = self._node.create_client(GetState, "planner/get_state")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="operator", daemon=True)
        self._thread.start()

    def __enter__(self) -> "GoalClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        rclpy.try_shutdown()

    # -- getting ready ------------------------------------------------------------------------

    def publish_picture(self, rgb: Rgb) -> None:
        """From now on be a camera that shows one picture for ever."""
        publisher = self._node.create_publisher(Image, f"{self._cameras[0]}/image_raw", 1)

        def publish() -> None:
            now_s = self._node.get_clock().now().nanoseconds / 1e9
            publisher.publish(frame_to_image(Frame(rgb, self._cameras[0], now_s)))

        self._node.create_timer(1 / _PICTURE_RATE_HZ, publish)

    def wait_for_pictures(self, timeout_s: float) -> None:
        """Until every camera has shown something."""
        self._wait(
            lambda: len(self._pictures) == len(self._cameras),
            timeout_s,
            f"pictures on {', '.join(f'{camera}/image_raw' for camera in self._cameras)}",
        )

    def activate_planner(self, timeout_s: float) -> None:
        """Bring the lifecycle node into its active state, from wherever it is."""
        answer = self._ask(self._get_state, GetState.Request(), timeout_s)
        state = answer.current_state.id
        transitions = {
            State.PRIMARY_STATE_UNCONFIGURED: (
                Transition.TRANSITION_CONFIGURE,
                Transition.TRANSITION_ACTIVATE,
            ),
            State.PRIMARY_STATE_INACTIVE: (Transition.TRANSITION_ACTIVATE,),
            State.PRIMARY_STATE_ACTIVE: (),
        }
        if state not in transitions:
            raise DemoError(f"the planner node is {answer.current_state.label}; start it again")
        for transition in transitions[state]:
            request = ChangeState.Request(transition=Transition(id=transition))
            if not self._call(self._change, request, timeout_s).success:
                raise DemoError(f"the planner node refuses lifecycle transition {transition}; see its log")

    def wait_for_planner(self, timeout_s: float) -> None:
        """Until somebody else has activated the planner node. DemoError: nobody does."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._ask(self._get_state, GetState.Request(), timeout_s)
            if answer.current_state.id == State.PRIMARY_STATE_ACTIVE:
                return
            if time.monotonic() > deadline:
                raise DemoError(f"the planner node is {answer.current_state.label}; activate it")
            time.sleep(0.2)

    def evaluate(self, timeout_s: float = _SERVICE_TIMEOUT_S) -> dict[str, Any]:
        """What the simulator says of its scene and of the task: see sim.ros_node."""
        answer = self._ask(self._evaluate, Trigger.Request(), timeout_s)
        told: dict[str, Any] = json.loads(answer.message)
        return told

    # -- the goal -----------------------------------------------------------------------------

    def send(self, task: str, *, closed_loop: bool, seed: int = 0) -> None:
        """Send the goal. DemoError: no action server, or it rejects the goal."""
        self._wait(self._action.server_is_ready, _SERVICE_TIMEOUT_S, "the action planner/plan_task")
        self._goal_id, self._closed_loop = uuid.uuid4().bytes, closed_loop
        goal = PlanTask.Goal(
            instruction=task,
            review_mode=PlanTask.Goal.REVIEW_NONE,
            closed_loop=closed_loop,
            seed=seed,
            cameras=list(self._cameras),
        )
        self._sent_s = self._began_s = time.monotonic()
        future = where_it_spins(
            self._executor,
            self._action.send_goal_async,
            goal,
            lambda message: self._take_progress(message.feedback),
            UUID(uuid=list(self._goal_id)),
        )
        self._wait(future.done, _SERVICE_TIMEOUT_S, "an answer to the goal")
        handle = future.result()
        if not handle.accepted:
            raise DemoError("the planner node rejected the goal; its log says why")
        self._handle = handle
        self._result = where_it_spins(self._executor, handle.get_result_async)

    def result(self, timeout_s: float) -> PlanTask.Result | None:
        """The action's result; None: not within this time."""
        deadline = time.monotonic() + timeout_s
        while not self._result.done():
            self._check()
            if time.monotonic() > deadline:
                return None
            time.sleep(_POLL_S)
        result: PlanTask.Result = self._result.result().result
        return result

    def cancel(self) -> None:
        """Ask the planner to stop; does not wait for it."""
        where_it_spins(self._executor, self._handle.cancel_goal_async)

    def steps(self) -> list[StepRecord]:
        """Copies of the steps so far; pictures are shared."""
        with self._lock:
            return [copy.copy(step) for _, step in sorted(self._steps.items())]

    def finish(self, result: PlanTask.Result) -> list[StepRecord]:
        """The steps after the result, with the last picture of what really happened."""
        expected = sum(subgoal.has_keyframe for subgoal in result.plan.subgoals)
        deadline = time.monotonic() + 1.0
        # topics and the action are not ordered among each other
        while sum(s.keyframe is not None for s in self.steps()) < expected and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self._take_plan(result.plan)
        time.sleep(2 / _PICTURE_RATE_HZ)
        with self._lock:
            self._show_after()
        return self.steps()

    # -- callbacks ----------------------------------------------------------------------------

    def _keep(self, camera: str) -> Callable[[Image], None]:
        def keep(message: Image) -> None:
            with self._lock:
                self._pictures[camera] = message

        return keep

    def _take_progress(self, now: PlanTask.Feedback) -> None:
        at_s = time.monotonic()
        with self._lock:
            self.phase = PHASES.get(now.phase, "")
            if now.phase == PlanProgress.PHASE_CONNECTING:
                self._began_s = at_s
            if now.phase not in _GENERATING or not now.partial_text:
                return
            if self.first_words_s is None:
                self.first_words_s = at_s - self._sent_s
            step = self._step(now.current_index)
            step.words, step.keyframe_share = now.partial_text.strip(), now.keyframe_progress
            if now.phase == PlanProgress.PHASE_GENERATING_KEYFRAME and step.words_s is None:
                step.words_s = at_s - self._began_s

    def _take_keyframe(self, message: Keyframe) -> None:
        at_s = time.monotonic()
        frame = compressed_to_frame(CompressedImage(data=message.image.data), "keyframe")
        with self._lock:
            if bytes(message.plan_id.uuid) != self._goal_id:
                return
            if self.first_keyframe_s is None:
                self.first_keyframe_s = at_s - self._sent_s
            step = self._step(message.index)
            step.keyframe, step.views, step.keyframe_share = frame.rgb, len(message.views), 1.0
            step.keyframe_s = at_s - self._began_s

    def _take_plan(self, plan: Plan) -> None:
        at_s = time.monotonic()
        with self._lock:
            if bytes(plan.plan_id.uuid) != self._goal_id:
                return
            for subgoal in plan.subgoals:
                step = self._step(subgoal.index)
                step.words, step.detail = subgoal.instruction, subgoal.outcome_detail
                step.state = _STATES[subgoal.state]
                step.confidence = None if math.isnan(subgoal.confidence) else subgoal.confidence
                if subgoal.index not in self._whole_s:
                    self._whole_s[subgoal.index] = at_s
                    if step.words_s is None:
                        step.words_s = at_s - self._began_s
                    if not self._closed_loop:
                        self._began_s = at_s
                if subgoal.state in _OVER and step.executed_s is None:
                    step.executed_s = at_s - self._whole_s[subgoal.index]

    def _step(self, index: int) -> StepRecord:
        """The record of a step; a new one is planned from what the cameras show now."""
        if index not in self._steps:
            self._show_after()
            self._steps[index] = StepRecord(index, before=self._picture())
        return self._steps[index]

    def _show_after(self) -> None:
        """What the cameras show now is what the newest executed step led to."""
        executed = [step for step in self._steps.values() if step.executed_s is not None]
        if executed and executed[-1].after is None:
            executed[-1].after = self._picture()

    def _picture(self) -> Rgb | None:
        """All cameras side by side, as high as the first; None before each has shown something."""
        if len(self._pictures) < len(self._cameras):
            return None
        views = [image_to_frame(self._pictures[camera], camera).rgb for camera in self._cameras]
        height = min(view.shape[0] for view in views)
        return np.hstack([view[:height] for view in views])

    # -- waiting ------------------------------------------------------------------------------

    def _ask(self, client: Client, request: Any, timeout_s: float) -> Any:
        """A service's answer to what may be asked twice. DemoError: none in time."""
        self._wait(client.service_is_ready, timeout_s, f"the service {client.service_name}")
        question = Question(client, request)
        self._wait(question.is_answered, timeout_s, f"an answer of {client.service_name}")
        question.drop()
        return question.answer()

    def _call(self, client: Client, request: Any, timeout_s: float) -> Any:
        """The same for what may not, of a node that has answered before."""
        self._wait(client.service_is_ready, timeout_s, f"the service {client.service_name}")
        future = client.call_async(request)
        self._wait(future.done, timeout_s, f"an answer of {client.service_name}")
        return future.result()

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise DemoError(f"waited {timeout_s:g} s for {what}, in vain; see the logs")
            time.sleep(_POLL_S)


def error_of(result: PlanTask.Result) -> str:
    """Why the action failed, in words, with the name of its code; empty when it did not."""
    if result.error_code == PlanTask.Result.NONE:
        return ""
    names = {
        getattr(PlanTask.Result, name): name
        for name in dir(PlanTask.Result)
        if name.isupper() and isinstance(getattr(PlanTask.Result, name), int)
    }
    return f"{names.get(result.error_code, result.error_code)}: {result.error_msg}"
