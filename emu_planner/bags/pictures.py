"""Which pictures of a camera go into a bag: few a second, and all that a plan was made from.

Keeps the last ones in memory, as it is known only later which of them a plan began with. Knows no
ROS and no file.
"""

from collections import deque
from dataclasses import dataclass

# a camera that gives a picture at almost its time gives it in time, share of the period
_EARLY = 0.1
# pictures that are waited for at most: of a camera that this recorder does not see
_MOST_WANTED = 64


@dataclass
class _Kept:
    """A picture in memory; data is None once it is in the bag."""

    stamp_s: float  # as its header says; 0: the driver stamps nothing
    arrival_s: float  # on the clock that the planner node stamps such pictures with
    data: bytes | None


class PictureStream:
    """One camera.

    Args:
        rate_hz: pictures a second that are written in any case; 0: all.
        most_bytes: memory for pictures that may turn out to be needed.
    """

    def __init__(self, rate_hz: float, most_bytes: int) -> None:
        self._period_s = 0.0 if rate_hz == 0 else (1 - _EARLY) / rate_hz
        self._most_bytes, self._bytes = most_bytes, 0
        self._due_s = float("-inf")
        self._kept: deque[_Kept] = deque()
        self._wanted: deque[float] = deque(maxlen=_MOST_WANTED)
        self.skipped = 0  # pictures that are not in the bag

    @property
    def missing(self) -> int:
        """Pictures that a plan was made from and that have not been seen here."""
        return len(self._wanted)

    def put(self, stamp_s: float, arrival_s: float, data: bytes) -> bytes | None:
        """Take a picture; returned: it is to be written now."""
        wanted = stamp_s in self._wanted
        if wanted:
            self._wanted.remove(stamp_s)
        write = wanted or arrival_s >= self._due_s or arrival_s < self._due_s - 2 * self._period_s
        if write:
            self._due_s = arrival_s + self._period_s
        else:
            self.skipped += 1
            self._bytes += len(data)
        self._kept.append(_Kept(stamp_s, arrival_s, None if write else data))
        self._forget()
        return data if write else None

    def want(self, stamp_s: float) -> bytes | None:
        """A plan was made from this picture; returned: it is to be written now."""
        kept = self._find(stamp_s)
        if kept is None:
            self._wanted.append(stamp_s)
            return None
        data, kept.data = kept.data, None
        if data is not None:
            self.skipped -= 1
            self._bytes -= len(data)
        return data

    def _find(self, stamp_s: float) -> _Kept | None:
        found = None
        for kept in self._kept:
            if kept.stamp_s == stamp_s:
                return kept
            if kept.stamp_s == 0.0 and kept.arrival_s <= stamp_s:
                found = kept  # the newest that the planner node can have had
        return found

    def _forget(self) -> None:
        while len(self._kept) > 1 and (self._bytes > self._most_bytes or len(self._kept) > 1000):
            self._bytes -= len(self._kept.popleft().data or b"")
