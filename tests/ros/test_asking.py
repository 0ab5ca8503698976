"""An answer that gets lost is asked for again."""

import contextlib
import time

import pytest

pytest.importorskip("emu_planner_msgs")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from emu_planner.cli.processes import free_domain
from emu_planner.ros import asking

pytestmark = pytest.mark.ros


class LostError(Exception):
    """rclpy sends no answer for a callback that raises."""


def test_a_question_without_an_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "AGAIN_S", 0.1)
    asked = []

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        asked.append(1)
        if len(asked) < 3:
            raise LostError
        response.message = f"asked {len(asked)} times"
        return response

    context = Context()
    rclpy.init(context=context, domain_id=free_domain())
    node = Node("both", context=context)
    node.create_service(Trigger, "~/ask", answer)
    client = node.create_client(Trigger, "~/ask")
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        assert client.wait_for_service(timeout_sec=30.0)
        question = asking.Question(client, Trigger.Request())
        deadline = time.monotonic() + 30.0
        while not question.is_answered():
            assert time.monotonic() < deadline
            with contextlib.suppress(LostError):
                executor.spin_once(0.02)
        assert question.answer().message == "asked 3 times"
        question.drop()
        # neither what was answered nor what was not is kept
        while client._pending_requests:
            assert time.monotonic() < deadline
            executor.spin_once(0.02)
    finally:
        executor.shutdown()
        rclpy.shutdown(context=context)
