"""How long a goal bears with a service that is away: tries that come less and less often.

Knows no planner and no ROS; the caller waits, so that whatever ends the goal ends the wait.
"""

import random
import time
from collections.abc import Callable

from emu_planner.plan import ErrorCode, PlanError

_FIRST_S, _LONGEST_S, _FACTOR = 0.2, 5.0, 2.0
# what passes by itself: a service that is restarted, loads its model, or is full
_PASSING = (ErrorCode.SERVER_UNAVAILABLE, ErrorCode.MODEL_NOT_READY, ErrorCode.RESOURCE_EXHAUSTED)


class Patience:
    """For one call of a planner.

    Args:
        seconds: from the first failure on; 0: none.
        wait: sleeps that long; True when there is nothing left to wait for.
        clock_s: monotonic seconds.
        rng: draws the jitter, so that robots that lost one service do not come back in one moment.
    """

    def __init__(
        self,
        seconds: float,
        wait: Callable[[float], bool],
        *,
        clock_s: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._seconds, self._wait, self._clock_s = seconds, wait, clock_s
        self._rng = rng or random.Random()
        self._until_s: float | None = None
        self._delay_s = _FIRST_S

    def bears(self, error: PlanError, tell: Callable[[ErrorCode], None] = lambda _: None) -> bool:
        """Whether to try once more after this failure; waits before it says yes, and tells so."""
        if not self._seconds or error.code not in _PASSING or not error.retryable:
            return False
        now_s = self._clock_s()
        if self._until_s is None:
            self._until_s = now_s + self._seconds
        delay_s = self._delay_s * self._rng.uniform(0.5, 1.0)
        self._delay_s = min(self._delay_s * _FACTOR, _LONGEST_S)
        if now_s + delay_s >= self._until_s:
            return False
        tell(error.code)
        return not self._wait(delay_s)
