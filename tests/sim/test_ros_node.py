"""The simulated rig over DDS: cameras that never stop, and an executor that keeps the rules."""

import contextlib
import json
import queue
import signal
import threading
import time

import numpy as np
import pytest

pytest.importorskip("emu_planner_msgs")

import rclpy
from emu_planner_msgs.msg import Subgoal
from emu_planner_msgs.srv import ReportOutcome
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from emu_planner.cli.processes import Children, free_domain
from emu_planner.cli.record import DemoError
from emu_planner.ros.outputs import NEWEST, latched_for

pytestmark = pytest.mark.ros

PATIENCE_S = 30.0
SEED = 1_000_000_007  # blue and red block free, a green one on an orange one
STARTED, SUCCEEDED, FAILED = (
    ReportOutcome.Request.STARTED,
    ReportOutcome.Request.SUCCEEDED,
    ReportOutcome.Request.FAILED,
)


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
    return value


class FakeNode:
    """The planner node's two ends that an executor sees, and someone who watches the cameras."""

    def __init__(self, domain):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("planner", context=self.context)
        self.reports = queue.SimpleQueue()
        self.accepts = True
        self.withdrawing = None  # a subgoal to take back as soon as it is reported
        self.epoch, self.index = 0, 0
        self.pictures = {"front": [], "side": []}
        self.infos = {}
        self.node.create_service(ReportOutcome, "~/report_outcome", self._report)
        self.offers = self.node.create_publisher(Subgoal, "~/active_subgoal", latched_for(60.0))
        for camera, seen in self.pictures.items():
            self.node.create_subscription(Image, f"{camera}/image_raw", seen.append, NEWEST)
            self.node.create_subscription(
                CameraInfo, f"{camera}/camera_info", lambda m, c=camera: self.infos.update({c: m}), NEWEST
            )
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()

    def close(self):
        self.executor.shutdown()
        rclpy.shutdown(context=self.context)
        self.thread.join(5.0)

    def _spin(self):
        with contextlib.suppress(ExternalShutdownException):
            self.executor.spin()

    def _report(self, request, response):
        self.reports.put((request.outcome, request.detail, self.newest()))
        if self.withdrawing is not None:
            self.withdraw(self.withdrawing)
        response.success = self.accepts
        return response

    def newest(self):
        return np.concatenate([np.frombuffer(seen[-1].data, np.uint8) for seen in self.pictures.values()])

    def offer(self, words, *, epoch=None, state=Subgoal.STATE_APPROVED, valid_s=60.0):
        self.epoch = self.epoch + 1 if epoch is None else self.epoch
        self.index += 1
        subgoal = Subgoal(
            epoch=self.epoch if epoch is None else epoch, index=self.index, instruction=words, state=state
        )
        subgoal.plan_id.uuid[0] = 1
        until_ns = self.node.get_clock().now().nanoseconds + int(valid_s * 1e9)
        subgoal.valid_until = Time(nanoseconds=until_ns).to_msg()
        self.offers.publish(subgoal)
        return subgoal

    def withdraw(self, subgoal):
        self.epoch += 1
        subgoal.epoch, subgoal.state = self.epoch, Subgoal.STATE_EXPIRED
        self.offers.publish(subgoal)

    def carried_out(self, words):
        """(last outcome, detail) of a subgoal that is to be started."""
        self.offer(words)
        assert self.reports.get(timeout=PATIENCE_S)[0] == STARTED
        return self.reports.get(timeout=PATIENCE_S)[:2]

    def call(self, name):
        client = self.node.create_client(Trigger, name)
        assert client.wait_for_service(timeout_sec=PATIENCE_S)
        future = client.call_async(Trigger.Request())
        answer = until(lambda: future.done() and future.result(), name)
        self.node.destroy_client(client)
        return answer

    def settled(self):
        """The newest picture, once two in a row are the same."""
        count = len(self.pictures["side"])
        until(lambda: len(self.pictures["side"]) > count + 3, "more pictures")
        return self.newest()


@contextlib.contextmanager
def running_rig(logs, **more):
    """The simulator's node in a process of its own, and the planner that it listens to."""
    domain = free_domain()
    graph = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    with Children(logs, graph) as children:
        params = {"family": "stack", "seed": SEED, **more}
        words = [word for name, value in params.items() for word in ("-p", f"{name}:={value}")]
        children.start("sim", "sim.ros_node", "--ros-args", *words)
        fake = FakeNode(domain)
        try:
            until(lambda: children.check() or all(fake.pictures.values()), "pictures")
            until(lambda: fake.offers.get_subscription_count(), "the executor")
            yield fake
            children.check()
            children.processes["sim"].send_signal(signal.SIGTERM)
            assert children.processes["sim"].wait(10.0) == 0
        finally:
            fake.close()


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with running_rig(tmp_path_factory.mktemp("logs")) as fake:
        yield fake


@pytest.fixture
def planner(rig):
    assert rig.call("sim/reset").success
    rig.settled()
    rig.accepts = True
    while not rig.reports.empty():
        rig.reports.get()
    yield rig
    assert rig.reports.empty()


def test_cameras_never_stop_and_are_calibrated(planner):
    counts = {camera: len(seen) for camera, seen in planner.pictures.items()}
    until(lambda: all(len(planner.pictures[c]) > counts[c] + 20 for c in counts), "twenty pictures")
    for camera, everything in planner.pictures.items():
        seen = everything[counts[camera] :]
        stamps = [Time.from_msg(image.header.stamp).nanoseconds for image in seen]
        assert stamps == sorted(set(stamps))
        assert len({bytes(image.data) for image in seen}) == 1, "nothing moved"
        first, info = seen[0], planner.infos[camera]
        assert (first.encoding, first.height, first.width, first.step) == ("rgb8", 192, 192, 576)
        assert first.header.frame_id == info.header.frame_id == f"{camera}_optical"
        assert info.k[2] == info.k[5] == 96
        assert info.p[0] == info.k[0] > 200
    front, side = (bytes(seen[-1].data) for seen in planner.pictures.values())
    assert front != side


def test_a_subgoal_is_reported_before_anything_moves_and_after_it_is_done(planner):
    before = planner.settled()
    planner.offer("pick up the blue block")
    outcome, _, seen = planner.reports.get(timeout=PATIENCE_S)
    assert outcome == STARTED
    assert np.array_equal(seen, before)
    outcome, detail, _ = planner.reports.get(timeout=PATIENCE_S)
    assert (outcome, detail) == (SUCCEEDED, "")
    assert not np.array_equal(planner.settled(), before)


def test_cameras_go_on_while_the_arm_moves(planner):
    planner.settled()
    count = len(planner.pictures["front"])
    assert planner.carried_out("pick up the blue block") == (SUCCEEDED, "")
    moving = {bytes(image.data) for image in planner.pictures["front"][count:]}
    assert len(moving) >= 3


def test_success_is_told_from_exact_state_and_reset_takes_it_back(planner):
    for words in (
        "pick up the blue block",
        "place the blue block on the red block",
        "pick up the green block",
        "place the green block on the table",
        "pick up the orange block",
    ):
        assert planner.carried_out(words) == (SUCCEEDED, "")
        assert not planner.call("sim/evaluate").success
    assert planner.carried_out("place the orange block on the blue block") == (SUCCEEDED, "")
    answer = planner.call("sim/evaluate")
    assert answer.success
    told = json.loads(answer.message)
    assert told["conditions"]["orange block on blue block"] is True
    assert told["scene"]["seed"] == SEED
    assert planner.call("sim/reset").success
    told = json.loads(planner.call("sim/evaluate").message)
    assert told["conditions"]["orange block on blue block"] is False


def test_words_that_mean_nothing_and_what_cannot_be_done_fail_with_a_reason(planner):
    outcome, detail = planner.carried_out("sing a song")
    assert outcome == FAILED
    assert "sing a song" in detail
    outcome, detail = planner.carried_out("place the red block on the table")
    assert outcome == FAILED
    assert detail == "the gripper does not hold the red block"
    outcome, detail = planner.carried_out("pick up the orange block")
    assert outcome == FAILED
    assert detail == "the green block stands on the orange block"


def test_nothing_moves_on_old_expired_unapproved_or_refused_subgoals(planner):
    before = planner.settled()
    planner.offer("pick up the blue block", epoch=planner.epoch - 1)
    planner.offer("pick up the blue block", valid_s=-1.0)
    planner.offer("pick up the blue block", state=Subgoal.STATE_PENDING_REVIEW)
    planner.offer("pick up the blue block", state=Subgoal.STATE_ACTIVE)
    planner.settled()
    assert planner.reports.empty()
    planner.accepts = False
    planner.offer("pick up the blue block")
    assert planner.reports.get(timeout=PATIENCE_S)[0] == STARTED
    assert np.array_equal(planner.settled(), before)


def test_the_arm_stops_when_the_subgoal_is_taken_back(planner):
    planner.withdrawing = planner.offer("pick up the blue block")
    assert planner.reports.get(timeout=PATIENCE_S)[0] == STARTED
    planner.withdrawing = None
    stopped = planner.settled()
    # only SUCCEEDED or FAILED would have been reported of a skill that went on to its end
    assert planner.reports.empty()
    assert np.array_equal(planner.settled(), stopped)
    told = json.loads(planner.call("sim/evaluate").message)
    assert told["conditions"]["all at rest"] is True


def test_the_robot_is_a_parameter(tmp_path):
    with running_rig(tmp_path, robot="kuka", time_factor=20.0) as fake:
        assert fake.carried_out("pick up the blue block") == (SUCCEEDED, "")
        told = json.loads(fake.call("sim/evaluate").message)
        assert told["scene"]["robot"] == "kuka"
        assert told["conditions"]["gripper empty"] is False


def test_an_unknown_robot_ends_the_node_with_the_names_that_are_known(tmp_path):
    told = r"unknown robot 'ur5'; expected one of panda, kuka, xarm, mobile"
    with pytest.raises(DemoError, match=told), running_rig(tmp_path, robot="ur5"):
        pass
