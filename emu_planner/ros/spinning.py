"""A node spun by threads of its own until the process is told to end, and calls made by those threads.

rclpy's own handling of SIGINT and SIGTERM takes ROS away at once: a goal in work gets no result, and what
still runs while the interpreter ends may crash it. So whoever spins here ends in order.

rclpy's action client notes a request after it has sent it, without a lock: an answer that is taken by
another thread in between is dropped ("Ignoring unexpected goal response"), and its future is never
done. The spinning thread cannot take an answer while it sends.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rclpy.executors import Executor

_Value = TypeVar("_Value")
# how soon a signal is seen, s
_LOOK_S = 0.1
# how long callbacks may take to end, s
_PATIENCE_S = 2.0


@contextlib.contextmanager
def spun(executor: Executor) -> Iterator[threading.Thread]:
    """The executor spins in a thread until the context is left; when a callback raises, that ends it."""
    thread = threading.Thread(target=executor.spin, name="spinning", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        executor.shutdown(_PATIENCE_S)
        thread.join(_PATIENCE_S)


def wait_until_told_to_end(thread: threading.Thread) -> bool:
    """Wait for SIGINT or SIGTERM, in the main thread; False: it is the thread that has ended."""
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # no Event: its lock may be held where the handler interrupts
        signal.signal(number, lambda number, _: told.append(number))
    while thread.is_alive() and not told:
        time.sleep(_LOOK_S)
    return bool(told)


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
