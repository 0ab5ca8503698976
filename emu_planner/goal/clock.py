"""Has the node's clock jumped? A simulation that is reset, or a bag played from its start, sets it back.

Told apart from a clock that is slow, fast or stands still, as a simulation's may. Knows no ROS.
"""

import time
from collections.abc import Callable

# a clock that goes back by less, or gets ahead of time by less between two looks, only wobbles, s
_JUMP_S = 0.5


class ClockWatch:
    """Looks at a clock whenever it is asked to.

    Args:
        now_s: the clock, s.
        passed_s: monotonic seconds.
    """

    def __init__(self, now_s: Callable[[], float], passed_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s, self._passed_s = now_s, passed_s
        self._seen_s, self._looked_s = now_s(), passed_s()

    def jump_s(self) -> float:
        """How far the clock has jumped since the last look, s; negative: back; 0: it has not."""
        now_s, passed_s = self._now_s(), self._passed_s()
        went_s, took_s = now_s - self._seen_s, passed_s - self._looked_s
        if -_JUMP_S <= went_s < 0:
            # a wobble does not count, but many of them must not add up to a jump unseen
            return 0.0
        self._seen_s, self._looked_s = now_s, passed_s
        return went_s if went_s < 0 or went_s > took_s + _JUMP_S else 0.0
