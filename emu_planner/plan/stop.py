"""A request to stop planning that may come from another thread."""

import threading
from collections.abc import Callable


class Stop:
    """Asked once, seen by everyone who holds it.

    A planner looks at `requested` between tokens; one that blocks in a call of its own registers
    what ends that call with `when_requested`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether someone asked to stop."""
        return self._requested

    def request(self) -> None:
        """Ask to stop; runs the registered callbacks once, in this thread."""
        with self._lock:
            self._requested = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def when_requested(self, callback: Callable[[], None]) -> None:
        """Run `callback` when asked to stop; at once if that was already so."""
        with self._lock:
            if not self._requested:
                self._callbacks.append(callback)
                return
        callback()
