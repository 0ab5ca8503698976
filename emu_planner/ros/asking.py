"""A question to a ROS service that is asked again while no answer comes.

A server that has just met a client may know its requests and not yet the reader of its answers. Fast DDS
drops the answer then ("client will not receive response") and tells the client nothing. So whoever asks a
server for the first time asks again, with a request that may come twice. Once a server has answered, it
knows whatever the asking process made before that client: endpoints are told reliably and in their order.
"""

import time
from typing import Any

from rclpy.client import Client
from rclpy.task import Future

# how long an answer may take before the question is asked again, s
AGAIN_S = 1.0


class Question:
    """Asked when made; somebody else spins the client's node.

    Args:
        client: of a service that is ready.
        request: may reach the server more than once.
    """

    def __init__(self, client: Client, request: Any) -> None:
        self._client, self._request = client, request
        self._asked: list[Future] = []
        self._ask()

    def is_answered(self) -> bool:
        """Whether an answer is there; asks again when it is time to. Call it again and again."""
        if any(future.done() for future in self._asked):
            return True
        if time.monotonic() > self._again_at_s:
            self._ask()
        return False

    def answer(self) -> Any:
        """The response, once there is one."""
        return next(future.result() for future in self._asked if future.done())

    def drop(self) -> None:
        """Wait for no further answer; a client that lives on would keep a note of each."""
        for future in self._asked:
            if not future.done():
                self._client.remove_pending_request(future)

    def _ask(self) -> None:
        self._again_at_s = time.monotonic() + AGAIN_S
        self._asked.append(self._client.call_async(self._request))
