"""A test's side of the ROS graph: processes, a camera, an action client, and patience."""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rclpy
from action_msgs.msg import GoalStatus
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Keyframe, PlannerStatus, Subgoal
from emu_planner_msgs.srv import ReportOutcome, ReviewSubgoal
from rcl_interfaces.srv import GetParameters
from rclpy.action import ActionClient
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from emu_planner.cli.processes import free_domain
from emu_planner.plan import Frame
from emu_planner.ros.asking import Question
from emu_planner.ros.convert import frame_to_image, rgb_to_png
from emu_planner.ros.outputs import ALL, LATCHED, latched_for
from emu_planner.ros.spinning import where_it_spins
from tests.ros.scripted import numbered

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
OK, CANCELED, ABORTED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_CANCELED,
    GoalStatus.STATUS_ABORTED,
)


def until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's first true value; fails when none comes in a long time."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GoalRun:
    """One goal that the planner accepted."""

    def __init__(self, rig: "Rig", handle: Any, feedback: "list[PlanTask.Feedback]") -> None:
        self.rig, self.handle, self.feedback = rig, handle, feedback
        self._future = rig.spun(handle.get_result_async)

    @property
    def plan_id(self) -> Any:
        return self.handle.goal_id

    def saw(self, phase: int) -> bool:
        return any(one.phase == phase for one in self.feedback)

    def cancel(self) -> Any:
        future = self.rig.spun(self.handle.cancel_goal_async)
        return until(lambda: future.done() and future.result(), "the answer to a cancel request")

    def result(self) -> tuple[int, PlanTask.Result]:
        """(status, result)."""
        until(self._future.done, "the goal's result")
        return self._future.result().status, self._future.result().result


class Rig:
    """Everything a test module needs, in a ROS domain of its own."""

    def __init__(self, domain: int) -> None:
        self._env = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONPATH": str(ROOT)}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.frame_number = 0
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("rig", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread(self._spin)
        self._client = ActionClient(self.node, PlanTask, "planner/plan_task")
        self._clients: dict[str, Client] = {}

    def close(self) -> None:
        self._stopping.set()
        for process in self._processes:
            stop_process(process)
        self._executor.shutdown()
        rclpy.shutdown(context=self.context)
        for thread in self._threads:
            thread.join(5.0)

    # -- processes

    def start_service(self, port: int) -> "subprocess.Popen[bytes]":
        """The gRPC service around the scripted planner; returns once it listens."""
        process = self._start("-m", "tests.ros.scripted", "serve", str(port))

        def listens() -> bool:
            assert process.poll() is None, "the service ended at once"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return True
            return False

        until(listens, "the service to listen")
        return process

    def start_node(self, module: str = "emu_planner.ros.planner_node", **params: Any) -> Any:
        """The planner node, active unless autostart=False; returns once its services are there."""
        params = {"autostart": True, "cameras": ["cam"], "frame_encoding": "png", **params}
        text = {name: str(value).replace("'", '"') for name, value in params.items()}
        arguments = [part for item in text.items() for part in ("-p", f"{item[0]}:={item[1]}")]
        words = ["node"] if module.endswith("scripted") else []
        process = self._start("-m", module, *words, "--ros-args", *arguments)
        if params["autostart"]:
            self.wait_for_action()
        return process

    def wait_for_action(self) -> None:
        assert self._client.wait_for_server(timeout_sec=PATIENCE_S), "no action server"
        until(
            lambda: all(
                self.node.count_services(f"/planner/{name}")
                for name in ("review_subgoal", "report_outcome", "get_plan", "hold", "rearm")
            ),
            "the planner's services",
        )
        self.get_known()

    def get_known(self, node: str = "planner") -> None:
        """Wait until the node knows all that this rig has made so far; see emu_planner/ros/asking.py."""
        client = self.node.create_client(GetParameters, f"{node}/get_parameters")
        try:
            assert client.wait_for_service(timeout_sec=PATIENCE_S), f"no node {node}"
            until(Question(client, GetParameters.Request()).is_answered, f"an answer of {node}")
        finally:
            self.node.destroy_client(client)

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, *arguments], env=self._env, cwd=ROOT)
        self._processes.append(process)
        return process

    # -- cameras

    def publish(self, frame: Frame, *, compressed: bool = False, topic: str = "") -> None:
        """One picture, now."""
        base = topic or f"{frame.camera}/image_raw"
        if compressed:
            message = rgb_to_png(frame.rgb)
            message.header = frame_to_image(frame).header
            self._publisher(CompressedImage, f"{base}/compressed").publish(message)
        else:
            message = frame_to_image(frame, f"{frame.camera}_optical")
            self._publisher(Image, base).publish(message)

    def start_camera(self, camera: str = "cam", rate_hz: float = 60.0) -> None:
        """Publish numbered pictures until the rig closes."""

        def work() -> None:
            while not self._stopping.wait(1 / rate_hz):
                number = self.frame_number + 1
                self.publish(numbered(number, camera, time.time()))
                self.frame_number = number

        self._thread(work)

    # -- talking to the planner

    def send(self, instruction: str, **fields: Any) -> GoalRun | None:
        """Send a goal; None when it is rejected."""
        feedback: list[PlanTask.Feedback] = []
        goal = PlanTask.Goal(instruction=instruction, **fields)
        future = self.spun(
            self._client.send_goal_async, goal, lambda message: feedback.append(message.feedback)
        )
        until(future.done, "the answer to a goal")
        handle = future.result()
        return GoalRun(self, handle, feedback) if handle.accepted else None

    def spun(self, call: Callable[..., Any], *args: Any) -> Any:
        """What a call of an action client gives, made where it has to be made."""
        return where_it_spins(self._executor, call, *args, timeout_s=PATIENCE_S)

    def goal(self, instruction: str, **fields: Any) -> GoalRun:
        """Send a goal that is to be accepted; without review unless told."""
        fields = {"review_mode": PlanTask.Goal.REVIEW_NONE, "closed_loop": False, **fields}
        run = self.send(instruction, **fields)
        assert run is not None, "the goal was rejected"
        return run

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """The answer of a service, called NODE/SERVICE."""
        is_new = name not in self._clients
        if is_new:
            self._clients[name] = self.node.create_client(kind, name)
        client = self._clients[name]
        assert client.wait_for_service(timeout_sec=PATIENCE_S), f"no service {name}"
        if is_new:
            self.get_known(name.rpartition("/")[0])
        future = client.call_async(kind.Request(**fields))
        return until(lambda: future.done() and future.result(), f"the answer of {name}")

    def report(self, subgoal: Subgoal, outcome: int, detail: str = "", **fields: Any) -> Any:
        place = {"plan_id": subgoal.plan_id, "epoch": subgoal.epoch, "index": subgoal.index, **fields}
        return self.call(ReportOutcome, "planner/report_outcome", outcome=outcome, detail=detail, **place)

    def review(self, subgoal: Subgoal, decision: int, text: str = "", **fields: Any) -> Any:
        place = {"plan_id": subgoal.plan_id, "epoch": subgoal.epoch, "index": subgoal.index, **fields}
        return self.call(
            ReviewSubgoal, "planner/review_subgoal", decision=decision, instruction=text, **place
        )

    def listen(self, kind: Any, topic: str, qos: Any) -> "queue.SimpleQueue[Any]":
        """A queue that gets every message of the topic from now on."""
        heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.node.create_subscription(kind, topic, heard.put, qos)
        return heard

    def listen_active(self) -> "queue.SimpleQueue[Subgoal]":
        return self.listen(Subgoal, "planner/active_subgoal", latched_for(10.0))

    def listen_keyframes(self) -> "queue.SimpleQueue[Keyframe]":
        heard = self.listen(Keyframe, "planner/keyframes", ALL)
        until(lambda: self.node.count_publishers("/planner/keyframes"), "~/keyframes")
        self.get_known()
        return heard

    def status(self, condition: Callable[[PlannerStatus], bool]) -> PlannerStatus:
        """The first status that fulfils the condition."""
        heard = self.listen(PlannerStatus, "planner/status", LATCHED)
        while not condition(status := heard.get(timeout=PATIENCE_S)):
            pass
        return status

    def _publisher(self, kind: Any, topic: str) -> Any:
        known = self.__dict__.setdefault("_publishers", {})
        if topic not in known:
            known[topic] = self.node.create_publisher(kind, topic, 1)
        return known[topic]

    def _thread(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()


def stop_process(process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> None:
    """End a process that this test started."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_rig(domain: int | None = None) -> Iterator[Rig]:
    """A rig that is closed at the end, whatever happens; in a domain that nobody here uses."""
    rig = Rig(free_domain() if domain is None else domain)
    try:
        yield rig
    finally:
        rig.close()


def next_in(heard: "queue.SimpleQueue[Any]", condition: Callable[[Any], bool]) -> Any:
    """The next message that fulfils the condition."""
    while not condition(message := heard.get(timeout=PATIENCE_S)):
        pass
    return message
