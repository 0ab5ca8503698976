"""The simulated rig as a ROS node: two cameras that never stop, and an executor of subgoals.

The only part of the simulator that knows ROS. Everything of Bullet happens in the thread that
calls `work`; rclpy's callbacks run in another one and only leave notes for it. The executor obeys
planner/active_subgoal alone: in state APPROVED, before valid_until, never with an epoch
below one it has seen, and it reports STARTED, and is heard, before anything moves.
"""

import array
import contextlib
import json
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import rclpy
from emu_planner_msgs.msg import Plan, Subgoal
from emu_planner_msgs.srv import ReportOutcome
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from emu_planner.plan.frame import Camera, Frame
from sim import language, robots, tasks
from sim.camera import VIEWS
from sim.scene import BENCHMARK_FIRST_SEED
from sim.world import STEPS_PER_SECOND, World

# reliable, so that every kind of subscription matches; depth 1, so that nobody gets an old picture
_CAMERA = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# how long the planner may take to answer a report, s
_REPORT_TIMEOUT_S = 3.0
# longest nap of the work loop, s: how soon it sees a note
_NAP_S = 0.005


class WithdrawnError(Exception):
    """The planner took back the subgoal that is being carried out: stop where we are."""


@dataclass(frozen=True)
class RigParams:
    """The node's parameters."""

    # one of sim.tasks.FAMILIES
    family: str
    # one of sim.robots.ROBOTS
    robot: str
    # with family and robot it names the scene; from BENCHMARK_FIRST_SEED on never seen in training
    seed: int
    # pictures a second of each camera
    rate_hz: float
    # simulated seconds in one second of the clock, while the arm moves
    time_factor: float


class SubgoalFilter:
    """Which messages on the planner's active_subgoal an executor may obey. Knows no clock.

    Epochs count up as long as one planner lives; `forget` when it went away.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._obeyed: tuple[bytes, int, int] | None = None

    def admit(self, subgoal: Subgoal, now_s: float) -> str:
        """Why not to carry this subgoal out, in words; empty: do it. The same one is done once."""
        if subgoal.epoch < self._epoch:
            return f"epoch {subgoal.epoch} is older than {self._epoch}"
        self._epoch = subgoal.epoch
        if subgoal.state != Subgoal.STATE_APPROVED:
            return f"its state is {subgoal.state}, not approved"
        valid_until_s = Time.from_msg(subgoal.valid_until).nanoseconds / 1e9
        if valid_until_s and now_s > valid_until_s:
            return f"it was valid until {now_s - valid_until_s:.1f} s ago"
        key = (bytes(subgoal.plan_id.uuid), subgoal.epoch, subgoal.index)
        if key == self._obeyed:
            return "it is in work already"
        self._obeyed = key
        return ""

    def forget(self) -> None:
        """The planner went away; a new one counts from the beginning."""
        self._epoch, self._obeyed = 0, None


class SimNode(Node):
    """See the module's text. Callbacks run in the executor's thread, `work` in Bullet's."""

    def __init__(self) -> None:
        super().__init__("sim")
        self._params = _declare_params(self)
        self._world = World()
        # what the callbacks leave for the thread of `work`; no SimpleQueue: a signal that arrives
        # at the end of its wait makes it wait for ever (Python 3.11)
        self._notes: queue.Queue[Callable[[], None]] = queue.Queue()
        self._filter = SubgoalFilter()
        self._lock = threading.Lock()  # guards what follows
        self._current: tuple[bytes, int] | None = None  # plan and index of the subgoal in work
        self._withdrawn = False
        self._task = ""  # what the newest plan is asked to do
        self._verdict = (False, "the scene is not built yet")
        # of the thread of `work` alone
        self._frames: tuple[Frame, ...] = ()
        self._moved = True
        self._next_picture_s = 0.0
        self._pace_s, self._pace_step = 0.0, 0
        self._images = {c: self.create_publisher(Image, f"{c}/image_raw", _CAMERA) for c in VIEWS}
        self._infos = {c: self.create_publisher(CameraInfo, f"{c}/camera_info", _CAMERA) for c in VIEWS}
        self._report_client = self.create_client(ReportOutcome, "planner/report_outcome")
        events = SubscriptionEventCallbacks(matched=self._planner_matched)
        self.create_subscription(
            Subgoal, "planner/active_subgoal", self._take_subgoal, _LATCHED, event_callbacks=events
        )
        self.create_subscription(Plan, "planner/plan", self._take_plan, _LATCHED)
        self.create_service(Trigger, "~/evaluate", self._evaluate)
        self.create_service(Trigger, "~/reset", self._reset)

    # -- callbacks: the executor's thread -----------------------------------------------------

    def _planner_matched(self, status: Any) -> None:
        if status.current_count == 0:
            self._filter.forget()

    def _take_subgoal(self, subgoal: Subgoal) -> None:
        refusal = self._filter.admit(subgoal, self._now_s())
        if not refusal:
            self._notes.put(partial(self._obey, subgoal))
        elif subgoal.state == Subgoal.STATE_APPROVED:
            self.get_logger().warning(f"{subgoal.instruction!r} is not carried out: {refusal}")
        elif subgoal.state == Subgoal.STATE_EXPIRED:
            with self._lock:
                self._withdrawn |= self._current == (bytes(subgoal.plan_id.uuid), subgoal.index)

    def _take_plan(self, plan: Plan) -> None:
        with self._lock:
            known, self._task = self._task, plan.instruction
        if known != plan.instruction:
            self._notes.put(self._judge)

    def _evaluate(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:  # noqa: ARG002
        """Whether the task is done, as it was when the arm last stood still; details as JSON."""
        with self._lock:
            response.success, response.message = self._verdict
        return response

    async def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:  # noqa: ARG002
        done: Future = Future()

        def reset() -> None:
            self._build()
            done.set_result(True)
            # without it the awaiting answer would sleep until the executor's next event
            if self.executor is not None:
                self.executor.wake()

        self._notes.put(reset)
        response.success = await done
        response.message = "the scene is as at the start"
        return response

    # -- work: Bullet's thread ----------------------------------------------------------------

    def work(self, stopping: threading.Event) -> None:
        """Build the scene, publish and obey until told to stop. Call once."""
        try:
            self._build()
            while not stopping.is_set():
                self._publish_when_due()
                with contextlib.suppress(queue.Empty):
                    self._notes.get(timeout=_NAP_S)()
        finally:
            self._world.close()

    def _build(self) -> None:
        scene = self._world.reset(self._params.family, self._params.seed, self._params.robot)
        self._moved = True
        self._judge()
        self.get_logger().info(f"scene {scene.family} {scene.seed} {scene.robot}: {scene.instruction!r}")

    def _obey(self, subgoal: Subgoal) -> None:
        """Carry out one subgoal, from STARTED to SUCCEEDED or FAILED."""
        words = subgoal.instruction
        with self._lock:
            self._current, self._withdrawn = (bytes(subgoal.plan_id.uuid), subgoal.index), False
        try:
            if not self._report(subgoal, ReportOutcome.Request.STARTED):
                return
            ok, detail = self._act(words)
            self.get_logger().info(f"{words!r}: {'done' if ok else f'failed, {detail}'}")
            self._judge()
            # the next plan is to be made from a picture of what is now
            self._next_picture_s = 0.0
            self._publish_when_due()
            outcome = ReportOutcome.Request.SUCCEEDED if ok else ReportOutcome.Request.FAILED
            self._report(subgoal, outcome, detail)
        except WithdrawnError:
            self._judge()
            self.get_logger().warning(f"{words!r}: stopped, the planner took it back")
        finally:
            with self._lock:
                self._current = None

    def _act(self, words: str) -> tuple[bool, str]:
        skill = language.parse(words, self._world.scene)
        if skill is None:
            return False, f"no skill is called {words!r} in this scene"
        self._pace_s, self._pace_step = time.monotonic(), self._world.steps
        self._world.on_step = self._stepped
        try:
            result = self._world.execute(skill)
        finally:
            self._world.on_step = None
        return result.ok, result.detail

    def _report(self, subgoal: Subgoal, outcome: int, detail: str = "") -> bool:
        """Whether the planner took the report; the cameras go on meanwhile."""
        request = ReportOutcome.Request(
            plan_id=subgoal.plan_id,
            epoch=subgoal.epoch,
            index=subgoal.index,
            outcome=outcome,
            detail=detail,
        )
        answer = self._report_client.call_async(request)
        deadline = time.monotonic() + _REPORT_TIMEOUT_S
        while not answer.done() and time.monotonic() < deadline:
            self._publish_when_due()
            time.sleep(_NAP_S)
        if not answer.done():
            self._report_client.remove_pending_request(answer)
            self.get_logger().error("the planner does not answer planner/report_outcome")
            return False
        if not answer.result().success:
            self.get_logger().warning(f"the planner refused a report: {answer.result().error_msg}")
        return bool(answer.result().success)

    def _judge(self) -> None:
        """Refresh what ~/evaluate answers: the task of the newest plan, else the scene's own."""
        scene, state = self._world.scene, self._world.state()
        with self._lock:
            task = self._task or scene.instruction
        goal = scene.goal if task == scene.instruction else language.parse_instruction(task, scene)
        if goal is not None and goal != self._world.goal:
            self._world.follow(goal)
        named = None if goal is None else tasks.success(scene, state, goal)
        told = {
            "task": task,
            "conditions": named,
            "scene": {
                "family": scene.family,
                "seed": scene.seed,
                "robot": scene.robot,
                "instruction": scene.instruction,
            },
        }
        with self._lock:
            self._verdict = (named is not None and all(named.values()), json.dumps(told))

    # -- time and pictures: Bullet's thread ---------------------------------------------------

    def _stepped(self) -> None:
        """After each step of physics: stop if told to, follow the clock, keep the cameras going."""
        self._moved = True
        if self._withdrawn:
            raise WithdrawnError
        simulated_s = (self._world.steps - self._pace_step) / STEPS_PER_SECOND
        due_s = self._pace_s + simulated_s / self._params.time_factor
        if (early_s := due_s - time.monotonic()) > 0:
            time.sleep(early_s)
        self._publish_when_due()

    def _publish_when_due(self) -> None:
        """A picture of each camera, rendered again only when something moved, and its calibration."""
        now_s = time.monotonic()
        if now_s < self._next_picture_s:
            return
        period_s = 1 / self._params.rate_hz
        # keep the beat; after a pause begin a new one
        self._next_picture_s = max(self._next_picture_s + period_s, now_s + 0.1 * period_s)
        if self._moved:
            self._frames, self._moved = self._world.observation().frames, False
        stamp = self.get_clock().now().to_msg()
        for frame, camera in zip(self._frames, self._world.cameras(), strict=True):
            info, image = _info_message(camera), _image_message(frame)
            for message in (info, image):
                message.header.stamp, message.header.frame_id = stamp, camera.frame_id
            self._infos[frame.camera].publish(info)
            self._images[frame.camera].publish(image)

    def _now_s(self) -> float:
        return float(self.get_clock().now().nanoseconds / 1e9)


def _image_message(frame: Frame) -> Image:
    height, width, _ = frame.rgb.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    # assigning numpy or bytes would check and copy each element
    message.data = array.array("B", frame.rgb.tobytes())
    return message


def _info_message(camera: Camera) -> CameraInfo:
    """Pinhole, undistorted, unrectified: P = [K | 0]."""
    k = camera.k
    return CameraInfo(
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=list(k),
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0],
    )


def _declare_params(node: Node) -> RigParams:
    """Read the parameters. ValueError: an unknown family or robot."""

    def declare(name: str, default: Any, description: str, **limits: Any) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True, **limits)
        return node.declare_parameter(name, default, descriptor).value

    families = ", ".join(tasks.FAMILIES)
    described = "; ".join(f"{name}: {robot.description}" for name, robot in robots.ROBOTS.items())
    params = RigParams(
        family=declare("family", "stack", f"Task family of the scene: {families}"),
        robot=declare("robot", robots.DEFAULT, f"Which robot acts; {described}"),
        seed=declare(
            "seed",
            BENCHMARK_FIRST_SEED + 7,
            f"Seed of the scene; from {BENCHMARK_FIRST_SEED} on never seen in training",
            integer_range=[IntegerRange(from_value=0, to_value=2**62, step=1)],
        ),
        rate_hz=declare(
            "rate_hz",
            30.0,
            "Pictures a second of each camera",
            floating_point_range=[FloatingPointRange(from_value=0.1, to_value=120.0)],
        ),
        time_factor=declare(
            "time_factor",
            1.0,
            "Simulated seconds in one second of the clock while the arm moves",
            floating_point_range=[FloatingPointRange(from_value=0.01, to_value=100.0)],
        ),
    )
    if params.family not in tasks.FAMILIES:
        raise ValueError(f"family is {params.family!r}; expected one of {families}")
    robots.known(params.robot)
    return params


def main(args: list[str] | None = None) -> None:
    """Entry point: one simulated rig, until SIGINT or SIGTERM."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    # rclpy's own handlers would end ROS under a skill that still publishes
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = SimNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    callbacks = threading.Thread(target=executor.spin, name="sim-callbacks", daemon=True)
    callbacks.start()
    try:
        node.work(stopping)
    finally:
        executor.shutdown(timeout_sec=2.0)
        # a thread inside ROS while the interpreter ends can abort or hang the process
        callbacks.join(2.0)
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
