"""A recorded session, shown again: the same looks at the same pace. Nothing can be decided in it.

Knows no file format and no page.
"""

import bisect
import itertools
import time
from collections.abc import Callable, Sequence

from emu_planner.console.hub import Look, find_picture
from emu_planner.console.record import Moment
from emu_planner.console.robot import Picture

# a pause in which nothing was shown is cut down to this when it is played, s
_LONGEST_PAUSE_S = 2.0


class Replay:
    """A playhead over what was shown. Times are s from the session's beginning, long pauses cut.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(self, moments: Sequence[Moment], clock_s: Callable[[], float] = time.monotonic) -> None:
        if not moments:
            raise ValueError("a session without a moment cannot be shown")
        self._moments, self._clock_s = moments, clock_s
        self._at_s = [0.0]
        for before, after in itertools.pairwise(moments):
            pause_s = min(max(0.0, after.t_s - before.t_s), _LONGEST_PAUSE_S)
            self._at_s.append(self._at_s[-1] + pause_s)
        self._position_s, self._since_s = 0.0, clock_s()
        self.playing, self.speed = False, 1.0

    @property
    def length_s(self) -> float:
        """How long it plays."""
        return self._at_s[-1]

    @property
    def position_s(self) -> float:
        """Where the playhead is."""
        moved_s = (self._clock_s() - self._since_s) * self.speed if self.playing else 0.0
        return min(self._position_s + moved_s, self.length_s)

    @property
    def clock(self) -> float:
        """When it was that this was shown, s since 1970."""
        return self._moments[self._index()].t_s

    def look(self) -> Look:
        """What was to be seen where the playhead is."""
        return self._moments[self._index()].look

    def picture(self, key: str) -> Picture | None:
        """A picture of any moment; None: there is no such."""
        here = find_picture(self.look(), key)
        if here is not None:
            return here
        return next((p for m in self._moments if (p := find_picture(m.look, key)) is not None), None)

    def play(self) -> None:
        """Go on; from the beginning when it has ended."""
        self.seek(0.0 if self.position_s >= self.length_s else self.position_s)
        self.playing = True

    def pause(self) -> None:
        """Stand still."""
        self.seek(self.position_s)
        self.playing = False

    def seek(self, position_s: float) -> None:
        """Put the playhead somewhere; ends are not passed."""
        self._position_s, self._since_s = min(max(0.0, position_s), self.length_s), self._clock_s()

    def set_speed(self, speed: float) -> None:
        """Seconds of the session in one of the clock."""
        self.seek(self.position_s)
        self.speed = speed

    def decisions_s(self) -> list[float]:
        """Where a person decided, held or asked: the journal grew there."""
        marks, known = [], -1
        for at_s, moment in zip(self._at_s, self._moments, strict=True):
            length = len(moment.look.snapshot.journal)
            if length > known >= 0:
                marks.append(at_s)
            known = length
        return marks

    def next_decision(self, direction: int) -> None:
        """To the next place where somebody decided (1), or the one before (-1)."""
        here, marks = self.position_s, self.decisions_s()
        ahead = [s for s in marks if (s - here) * direction > 0.01]
        if ahead:
            self.seek(min(ahead) if direction > 0 else max(ahead))

    def _index(self) -> int:
        return max(0, bisect.bisect_right(self._at_s, self.position_s) - 1)
