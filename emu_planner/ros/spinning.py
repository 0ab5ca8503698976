"""A call made by the thread that spins a node, for threads that do not.

rclpy's action client notes a request after it has sent it, without a lock: an answer that is taken by
another thread in between is dropped ("Ignoring unexpected goal response"), and its future is never
done. The spinning thread cannot take an answer while it sends.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.executors import Executor

_Value = TypeVar("_Value")


def where_it_spins(
    executor: Executor, call: Callable[..., _Value], *args: Any, timeout_s: float = 10.0
) -> _Value:
    """What the call gives; not for a callback of that executor, which would wait for itself.

    Raises:
        TimeoutError: the executor did not come to it.
    """
    task = executor.create_task(call, *args)
    done = threading.Event()
    task.add_done_callback(lambda _: done.set())
    if not done.wait(timeout_s):
        raise TimeoutError(f"the executor did not make a call within {timeout_s:g} s")
    value: _Value = task.result()
    return value
