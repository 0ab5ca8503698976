"""Learning rate over a run, and a run's length given in steps or in minutes."""

import math
import time


class Schedule:
    """Warm-up, then a cosine down to a fiftieth; progress by steps, or by the clock when given minutes.

    Args:
        steps: how long the run is; 0 when the clock decides.
        minutes: how long the run is by the clock; None when steps decide.
        warm_up: steps of linear warm-up.
        start_step: where a resumed run goes on.
    """

    def __init__(self, *, steps: int, minutes: float | None, warm_up: int, start_step: int = 0) -> None:
        if steps <= 0 and minutes is None:
            raise ValueError("a run needs a length: give steps above 0, or minutes")
        self.steps, self.minutes, self.warm_up = steps, minutes, warm_up
        self.started_s = time.monotonic()
        self.start_step = start_step

    def progress(self, step: int) -> float:
        """How much of the run is done, in [0, 1]."""
        if self.minutes is None:
            return min(1.0, step / self.steps)
        if step <= self.start_step + 1:
            # the first step compiles; that is no part of the run
            self.started_s = time.monotonic()
        return min(1.0, (time.monotonic() - self.started_s) / (60 * self.minutes))

    def rate(self, step: int, progress: float) -> float:
        """Factor on the peak learning rate."""
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
