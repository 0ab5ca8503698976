"""The planner node on a rig: what a fault looks like and how long it takes, latencies, CPU and memory.

    python -m tools.measure_rig                        all three tables
    python -m tools.measure_rig faults latency cost    some of them

Cameras, planner node and plan service are processes of their own, over real DDS and gRPC; this process is
the goals' client. The service has a planner that computes nothing, so the figures are those of the node,
the wire and ROS. All processes share one machine and its clock; what else runs there adds to each figure.
"""

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Plan, PlannerStatus
from rcl_interfaces.srv import GetParameters
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from emu_planner.cli.goal_client import error_of
from emu_planner.cli.processes import Children, free_domain, free_port
from emu_planner.plan import Frame, Observation, Still, Stop, Task
from emu_planner.ros.asking import Question
from emu_planner.ros.outputs import ALL, LATCHED
from emu_planner.wire.client import RemotePlanner
from tools.rig_parts import CAMERAS

_PATIENCE_S = 60.0
# of the node that is shown faults; all else is the node's default
_FAULT_PARAMETERS = {
    "camera_frozen_after": "1.0",
    "subgoal_timeout": "5.0",
    "first_subgoal_timeout": "5.0",
} | {f"camera.{name}.{side}": str(px) for name in CAMERAS for side, px in (("width", 640), ("height", 480))}


# -- the client -----------------------------------------------------------------------------------


class Rig:
    """Processes and a client of the planner, in a ROS domain that nobody else uses."""

    def __init__(self, children: Children, domain: int) -> None:
        self.children, self.port = children, free_port()
        rclpy.init(domain_id=domain)
        self.node = Node("measuring")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.client = ActionClient(self.node, PlanTask, "planner/plan_task")
        self.heard: dict[str, str] = {}  # diagnostics that were not OK: name and words
        self.counts = PlannerStatus()
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, ALL)
        self.node.create_subscription(PlannerStatus, "planner/status", self._count, LATCHED)

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.level != DiagnosticStatus.OK:
                self.heard[status.name.partition(": ")[2]] = status.message

    def _count(self, message: PlannerStatus) -> None:
        self.counts = message

    def until(self, condition: Callable[[], Any], what: str, patience_s: float = _PATIENCE_S) -> Any:
        """Spin until the condition is true. SystemExit: it never was."""
        deadline = time.monotonic() + patience_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise SystemExit(f"waited in vain for {what}")
            self._executor.spin_once(0.005)
        return value

    def spin(self, seconds: float) -> None:
        """Hear what comes in this time."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(left_s)

    def start(self, name: str, module: str, *words: str) -> None:
        """Start a process, or start it again with other words."""
        self.stop(name, signal.SIGTERM)
        self.children.start(name, module, *words)

    def stop(self, name: str, number: int = signal.SIGKILL) -> None:
        """End a process that runs, by this signal."""
        if (process := self.children.processes.get(name)) is not None and process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            process.wait()

    def cameras(self, *words: str) -> None:
        """Both cameras, anew; see rig_parts."""
        self.start("cameras", "tools.rig_parts", "camera", *words)

    def service(self, *words: str) -> None:
        """The service, anew; returns once it listens."""
        self.start("service", "emu_planner.cli.paced_service", "--port", str(self.port), *words)
        self.listening()

    def listening(self) -> None:
        """Wait for the service."""
        with RemotePlanner(f"127.0.0.1:{self.port}") as planner:
            planner.wait_ready(_PATIENCE_S)

    def planner(self, **parameters: str) -> None:
        """The planner node, anew; returns once it is active."""
        values = {"autostart": "true", "server": f"127.0.0.1:{self.port}"} | parameters
        words = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        self.start("planner", "emu_planner.ros.planner_node", "--ros-args", *words)
        self.until(self.client.server_is_ready, "the planner node")
        client = self.node.create_client(GetParameters, "planner/get_parameters")
        self.until(client.service_is_ready, "the planner node")
        self.until(Question(client, GetParameters.Request()).is_answered, "the planner node to know this one")
        self.node.destroy_client(client)

    def goal(self, **fields: Any) -> "Run":
        """Send a goal; its handle says whether it was accepted."""
        fields = {"instruction": "tidy up", "review_mode": PlanTask.Goal.REVIEW_NONE, **fields}
        fields.setdefault("closed_loop", False)
        sent = self.client.send_goal_async(PlanTask.Goal(**fields))
        handle = self.until(lambda: sent.done() and sent.result(), "the answer to a goal")
        return Run(self, handle)

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """The answer of a service of the node."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, name)
        future = client.call_async(kind.Request(**fields))
        return self.until(lambda: future.done() and future.result(), f"the answer of {name}")

    def recovered(self) -> str:
        """Goals one after the other until one succeeds; says after how long."""
        begun_s = time.monotonic()
        while time.monotonic() - begun_s < _PATIENCE_S:
            run = self.goal(max_subgoals=1)
            if run.handle.accepted and run.end()[0] == GoalStatus.STATUS_SUCCEEDED:
                return f"yes, {time.monotonic() - begun_s:.1f} s"
        return "no"


class Run:
    """One goal."""

    def __init__(self, rig: Rig, handle: Any) -> None:
        self.rig, self.handle = rig, handle
        self._result: Any = handle.get_result_async() if handle.accepted else None

    def end(self) -> tuple[int, PlanTask.Result]:
        """(status, result)."""
        answer = self.rig.until(lambda: self._result.done() and self._result.result(), "a goal's end", 120.0)
        return answer.status, answer.result


Row = tuple[str, str, str, str]
_SLOW, _QUICK = ("--token-ms", "50"), ("--token-ms", "1")


def faults(rig: Rig) -> Iterator[Row]:
    """(fault, what the user sees, seconds from the fault to that, does the next goal work)."""
    rig.cameras()
    rig.service(*_SLOW)
    rig.planner(**_FAULT_PARAMETERS)
    rig.recovered()
    yield from _of_the_service(rig)
    yield from _of_the_cameras(rig)
    rig.service(*_SLOW)
    rig.recovered()
    yield from _of_the_operator(rig)
    yield from _of_the_node(rig)
    yield from _of_a_patient_node(rig)


def _of_the_service(rig: Rig) -> Iterator[Row]:
    run, since_s = _begun(rig), time.monotonic()
    rig.stop("service")
    yield _row(rig, "service killed in a plan", run, since_s, lambda: rig.service(*_SLOW))
    run, since_s = _begun(rig), time.monotonic()
    os.kill(rig.children.processes["service"].pid, signal.SIGSTOP)
    yield _row(rig, "service hangs (SIGSTOP); subgoal_timeout 5 s", run, since_s, lambda: rig.service(*_SLOW))
    rig.stop("service")
    since_s = time.monotonic()
    yield _row(rig, "no service at the address", rig.goal(), since_s, lambda: rig.service(*_QUICK))
    rig.service("--token-ms", "200", "--max-sessions", "1")
    release = _occupy(rig.port)
    since_s = time.monotonic()

    def repair() -> None:
        release()
        rig.service(*_QUICK)

    yield _row(rig, "service full, by another robot", rig.goal(), since_s, repair)


def _of_the_cameras(rig: Rig) -> Iterator[Row]:
    for fault, words in (
        ("cameras show the same pixels; camera_frozen_after 1 s", ("--look", "still")),
        ("cameras are dark", ("--look", "dark")),
        ("cameras have another size", ("--size", "320", "240")),
        ("the cameras' clock goes back an hour", ("--behind", "3600")),
        ("cameras stopped", None),
    ):
        if words is None:
            rig.stop("cameras")
        else:
            rig.cameras(*words)
        rig.spin(2.5)
        since_s = time.monotonic()
        yield _row(rig, fault, rig.goal(), since_s, rig.cameras)


def _of_the_operator(rig: Rig) -> Iterator[Row]:
    run, since_s = _begun(rig), time.monotonic()
    run.handle.cancel_goal_async()
    status = run.end()[0]
    took_s = time.monotonic() - since_s
    error = "status CANCELED" if status == GoalStatus.STATUS_CANCELED else f"status {status}"
    yield "goal cancelled", error, f"{took_s:.3f}", rig.recovered()
    run, since_s = _begun(rig), time.monotonic()
    newer = rig.goal(max_subgoals=1)
    error, took_s = error_of(run.end()[1]), time.monotonic() - since_s
    newer.end()
    yield "a newer goal comes", error, f"{took_s:.3f}", rig.recovered()
    run, since_s = _begun(rig), time.monotonic()
    rig.call(SetBool, "planner/hold", data=True)
    error, took_s = error_of(run.end()[1]), time.monotonic() - since_s
    refused = "refused" if not rig.goal().handle.accepted else "ACCEPTED"
    rig.call(Trigger, "planner/rearm")
    yield "hold", f"{error}; the next goal: {refused}, until rearm", f"{took_s:.3f}", rig.recovered()


def _of_the_node(rig: Rig) -> Iterator[Row]:
    _begun(rig)
    since_s = time.monotonic()
    rig.stop("planner")
    rig.until(lambda: not rig.client.server_is_ready(), "the action to go")
    took_s = time.monotonic() - since_s
    rig.planner(**_FAULT_PARAMETERS)
    fault = "planner node killed in a plan, and started again"
    yield fault, "no result; its action leaves the graph", f"{took_s:.2f}", rig.recovered()


def _of_a_patient_node(rig: Rig) -> Iterator[Row]:
    rig.planner(reconnect_patience="60.0")  # its limits for a subgoal, which hold meanwhile, are the defaults
    run, since_s = _begun(rig), time.monotonic()
    rig.stop("service")
    rig.spin(3.0)
    rig.service(*_QUICK)
    yield _row(rig, "service killed, back after 3 s; reconnect_patience 60 s", run, since_s, lambda: None)


def _begun(rig: Rig) -> "Run":
    """A goal that has been worked on for a second."""
    run = rig.goal()
    rig.spin(1.0)
    rig.heard.clear()
    return run


def _row(rig: Rig, fault: str, run: "Run", since_s: float, repair: Callable[[], None]) -> Row:
    """Wait for the goal's end and the diagnostics' next beat, repair, and see whether it works again."""
    error = error_of(run.end()[1]) or "the goal succeeds"
    took_s = time.monotonic() - since_s
    rig.spin(1.2)
    words = "; ".join(f"{name}: {text}" for name, text in sorted(rig.heard.items()))
    repair()
    works = rig.recovered()
    rig.spin(1.2)
    rig.heard.clear()
    return fault, error + (f" /diagnostics: {words}" if words else ""), f"{took_s:.2f}", works


def _occupy(port: int) -> Callable[[], None]:
    """Take a service's only place; returns what gives it back."""
    planner, stop, begun = RemotePlanner(f"127.0.0.1:{port}"), Stop(), threading.Event()
    picture = Observation((Frame(np.full((64, 64, 3), 90, np.uint8), "front", 1.0),), 1)

    def work() -> None:
        for _ in planner.plan(Task("occupy"), Still(picture), stop=stop):
            begun.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    begun.wait(_PATIENCE_S)

    def release() -> None:
        stop.request()
        thread.join(_PATIENCE_S)
        planner.close()

    return release


def latency(rig: Rig, plans: int) -> Iterator[tuple[str, str, str]]:
    """(from where to where, median and 99th percentile in ms) of goals one after the other."""
    rig.cameras()
    rig.start("service", "tools.rig_parts", "service", str(rig.port))
    rig.listening()
    rig.planner()
    told: dict[bytes, tuple[float, ...]] = {}  # by plan: the times in its words, and that of their coming

    def hear(message: Plan) -> None:
        heard_s, plan_id = time.time(), bytes(message.plan_id.uuid)
        if message.subgoals and plan_id not in told:
            told[plan_id] = (*map(float, message.subgoals[0].instruction.split()), heard_s)

    rig.node.create_subscription(Plan, "planner/plan", hear, LATCHED)
    rig.recovered()
    rig.spin(1.0)
    told.clear()
    whole = []
    for number in range(plans):
        begun_s = time.time()
        rig.goal(max_subgoals=1).end()
        whole.append(time.time() - begun_s)
        rig.until(partial(_longer, told, number), "the plan of a goal")
        rig.spin(0.01 * (number % 7))  # goals shall not fall into step with the cameras
    times = np.array(list(told.values()))
    yield "camera stamp to service", *_ms(times[:, 1] - times[:, 0])
    yield "service to ~/plan", *_ms(times[:, 3] - times[:, 2])
    yield "goal sent to result received", *_ms(whole)


def _longer(told: Mapping[bytes, Any], number: int) -> bool:
    return len(told) > number


def _ms(seconds: Any) -> tuple[str, str]:
    return f"{np.median(seconds) * 1000:.1f}", f"{np.percentile(seconds, 99) * 1000:.1f}"


def cost(rig: Rig, seconds: float) -> Iterator[tuple[str, str, str, str, str]]:
    """(cameras, pictures a second of each that arrived, CPU % of a core, resident MB, threads)."""
    compressed = {f"camera.{name}.transport": "compressed" for name in CAMERAS}
    for label, words, parameters in (
        ("none", None, {}),
        ("2 x 640x480, raw", (), {}),
        ("2 x 1920x1080, raw", ("--size", "1920", "1080"), {}),
        ("2 x 1920x1080, JPEG", ("--size", "1920", "1080", "--compressed"), compressed),
    ):
        rig.stop("cameras")
        rig.planner(**parameters)
        if words is not None:
            rig.cameras(*words)
        rig.spin(6.0)
        process = psutil.Process(rig.children.processes["planner"].pid)
        used, received, begun_s = process.cpu_times(), rig.counts.frames_received, time.monotonic()
        rig.spin(seconds)
        now, wall_s = process.cpu_times(), time.monotonic() - begun_s
        percent = 100 * (now.user + now.system - used.user - used.system) / wall_s
        rate = (rig.counts.frames_received - received) / len(CAMERAS) / wall_s
        memory = process.memory_info().rss / 1e6
        yield label, f"{rate:.1f}", f"{percent:.0f}", f"{memory:.0f}", str(process.num_threads())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="faults|latency|cost")
    parser.add_argument("--plans", type=int, default=200, help="for latency (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each row of cost (%(default)s)")
    args = parser.parse_args()
    tables = {
        "faults": (("fault", "what the user sees", "seconds", "next goal works"), faults),
        "latency": (("ms", "median", "p99"), lambda rig: latency(rig, args.plans)),
        "cost": (
            ("cameras", "pictures/s each", "CPU, % of a core", "MB", "threads"),
            lambda rig: cost(rig, args.seconds),
        ),
    }
    if unknown := set(args.tables) - set(tables):
        parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(tables)}")
    domain, root = free_domain(), str(Path(__file__).parents[1])
    environment = {"ROS_DOMAIN_ID": str(domain), "PYTHONPATH": root, "GRPC_VERBOSITY": "NONE"}
    with tempfile.TemporaryDirectory() as logs, Children(Path(logs), environment) as children:
        rig = Rig(children, domain)
        try:
            for name in args.tables or tables:
                head, measure = tables[name]
                print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
                for row in measure(rig):
                    print("| " + " | ".join(row) + " |", flush=True)
        finally:
            rclpy.try_shutdown()


if __name__ == "__main__":
    main()
