"""Many goals in a row, a node that is killed, a camera that stops, two robots on one service."""

import signal
import time
from typing import Any

import psutil
import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import PlannerStatus
from rclpy.action import ActionClient

from tests.ros.rig import (
    ABORTED,
    LATCHED,
    OK,
    PATIENCE_S,
    GoalRun,
    Rig,
    free_port,
    next_in,
    running_rig,
    stop_process,
    until,
)
from tests.ros.scripted import numbered

pytestmark = pytest.mark.ros


def test_200_goals_in_a_row_leave_neither_threads_nor_memory_behind():
    with running_rig() as rig:
        port = free_port()
        rig.start_service(port)
        rig.start_camera()
        process = psutil.Process(rig.start_node(server=f"127.0.0.1:{port}").pid)

        def goals(count: int) -> tuple[int, int]:
            for number in range(count):
                assert rig.goal(f"goal {number}").result()[0] == OK
            return process.num_threads(), process.memory_info().rss

        threads, memory = goals(50)
        threads_after, memory_after = goals(150)
        assert threads_after <= threads + 2
        assert memory_after < 1.1 * memory


def test_a_node_that_was_killed_in_a_goal_is_started_again_and_plans():
    with running_rig() as rig:
        rig.start_camera()
        node = rig.start_node("tests.ros.scripted")
        run = rig.goal("count slowly")
        until(lambda: run.feedback, "work")
        stop_process(node, signal.SIGKILL)
        again = rig.listen(PlannerStatus, "planner/status", LATCHED)
        rig.start_node("tests.ros.scripted")
        again.get(timeout=PATIENCE_S)
        # the rest of the new node's endpoints follow its status
        time.sleep(1.0)
        assert rig.goal("look").result()[0] == OK


def test_a_camera_that_stopped_is_no_observation_until_it_is_back():
    with running_rig() as rig:
        rig.start_node(
            "tests.ros.scripted", observation_max_age=0.5, observation_timeout=0.5, camera_dark_level=0.0
        )
        told = rig.listen(PlannerStatus, "planner/status", LATCHED)
        while not next_in(told, lambda _: True).frames_received:
            rig.publish(numbered(1, "cam", time.time()))
        time.sleep(0.6)
        status, result = rig.goal("look").result()
        assert (status, result.error_code) == (ABORTED, PlanTask.Result.STALE_OBSERVATION)
        assert "no fresh picture from ['cam']" in result.error_msg
        rig.start_camera()
        until(lambda: rig.frame_number > 1, "the camera")
        assert rig.goal("look").result()[0] == OK


def test_two_robots_on_one_service_see_their_own_cameras():
    with running_rig() as rig:
        port = free_port()
        rig.start_service(port)
        for name in ("left", "right"):
            words = ["-r", f"__ns:=/{name}", "-p", "autostart:=true", "-p", "cameras:=['cam']"]
            words += [
                "-p",
                f"server:=127.0.0.1:{port}",
                "-p",
                "frame_encoding:=png",
                "-p",
                "camera_dark_level:=0.0",
            ]
            rig._start("-m", "emu_planner.ros.planner_node", "--ros-args", *words)
        clients = {name: action_of(rig, name) for name in ("left", "right")}

        def seen(name: str, number: int) -> str:
            run = send(rig, clients[name])
            until(
                lambda: (
                    rig.publish(numbered(number, "cam", time.time()), topic=f"{name}/cam/image_raw")
                    or run._future.done()
                ),
                "a plan",
            )
            status, result = run.result()
            assert status == OK
            return result.plan.subgoals[0].instruction

        assert seen("left", 11) == "11"
        assert seen("right", 22) == "22"
        # a picture of before is fresh for a second
        until(lambda: seen("left", 33) == "33", "a plan from the newer picture")


def action_of(rig: Rig, namespace: str) -> Any:
    client = ActionClient(rig.node, PlanTask, f"{namespace}/planner/plan_task")
    assert client.wait_for_server(timeout_sec=PATIENCE_S)
    rig.get_known(f"{namespace}/planner")
    return client


def send(rig: Rig, client: Any) -> GoalRun:
    goal = PlanTask.Goal(instruction="look", review_mode=PlanTask.Goal.REVIEW_NONE, closed_loop=False)
    future = rig.spun(client.send_goal_async, goal)
    until(future.done, "the answer to a goal")
    assert future.result().accepted
    return GoalRun(rig, future.result(), [])
