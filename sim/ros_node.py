"""The simulated rig as a ROS node: two cameras that never stop, and an executor of subgoals.

The only part of the simulator that knows ROS. Everything of Bullet happens in the thread that
calls `work`; rclpy's callbacks run in another one and only leave notes for it. Which subgoals are
carried out, and what the planner hears of it, emu_planner/executor decides.
"""

import array
import concurrent.futures
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
from emu_planner_msgs.msg import Plan
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from emu_planner.executor.executor import StoppedError, SubgoalExecutor, Work
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
# longest nap of the work loop, s: how soon it sees a note
_NAP_S = 0.005


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


class SimNode(Node):
    """See the module's text. Callbacks run in the executor's thread, `work` in Bullet's."""

    def __init__(self) -> None:
        super().__init__("sim")
        self._params = _declare_params(self)
        self._world = World()
        # what the callbacks leave for the thread of `work`; no SimpleQueue: a signal that arrives
        # at the end of its wait makes it wait for ever (Python 3.11)
        self._notes: queue.Queue[Callable[[], None]] = queue.Queue()
        self._lock = threading.Lock()  # guards what follows
        self._task = ""  # what the newest plan is asked to do
        self._verdict = (False, "the scene is not built yet")
        # of the thread of `work` alone
        self._in_hand: Work | None = None
        self._frames: tuple[Frame, ...] = ()
        self._moved = True
        self._next_picture_s = 0.0
        self._pace_s, self._pace_step = 0.0, 0
        self._images = {c: self.create_publisher(Image, f"{c}/image_raw", _CAMERA) for c in VIEWS}
        self._infos = {c: self.create_publisher(CameraInfo, f"{c}/camera_info", _CAMERA) for c in VIEWS}
        self._obedience = SubgoalExecutor(self, self._carry_out)
        self.create_subscription(Plan, "planner/plan", self._take_plan, _LATCHED)
        self.create_service(Trigger, "~/evaluate", self._evaluate)
        self.create_service(Trigger, "~/reset", self._reset)

    # -- callbacks: the executor's thread -----------------------------------------------------

    def _carry_out(self, work: Work) -> tuple[bool, str]:
        """Let the thread of `work` do it, and wait; the body of the SubgoalExecutor, in its thread."""
        done: concurrent.futures.Future[tuple[bool, str]] = concurrent.futures.Future()
        self._notes.put(partial(self._obey, work, done))
        return done.result()

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

    def _obey(self, work: Work, done: "concurrent.futures.Future[tuple[bool, str]]") -> None:
        """Carry out one subgoal and leave what became of it in `done`."""
        try:
            outcome = self._act(work)
        except StoppedError as stopped:
            self._judge()
            done.set_exception(stopped)
            return
        except BaseException as error:
            done.set_exception(error)
            raise
        self._judge()
        # the next plan is to be made from a picture of what is now
        self._next_picture_s = 0.0
        self._publish_when_due()
        done.set_result(outcome)

    def _act(self, work: Work) -> tuple[bool, str]:
        words = work.subgoal.instruction
        skill = language.parse(words, self._world.scene)
        if skill is None:
            return False, f"no skill is called {words!r} in this scene"
        self._pace_s, self._pace_step = time.monotonic(), self._world.steps
        self._in_hand, self._world.on_step = work, self._stepped
        try:
            result = self._world.execute(skill)
        finally:
            self._in_hand = self._world.on_step = None
        return result.ok, result.detail

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
        if self._in_hand is not None:
            self._in_hand.check()
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
            BENCHMARK_FIRST_SEED + 1,
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
