"""What all pages look at: one robot, polled by one thread, so that everybody sees the same.

The thread takes the snapshot and, at a steady rate, the cameras' newest pictures, and hands both to
the recorder: what is recorded is what was shown. Knows no page and no file format.
"""

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from emu_planner.console.robot import Decision, Picture, Refused, Robot, Snapshot, Views

logger = logging.getLogger(__name__)

_POLL_S = 0.04
# pictures that a page may still ask for although newer ones are there
_KEPT_PICTURES = 128


@dataclass(frozen=True)
class Look:
    """What is shown at one moment; a later one has a higher version."""

    snapshot: Snapshot
    frames: Views
    version: int = 0


class Recorder(Protocol):
    """Who keeps what was shown."""

    def keep(self, look: Look) -> None:
        """Keep it; OSError when that cannot be done."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


class Hub:
    """See the module's text.

    Args:
        rate_hz: how often a new picture of each camera is shown.
    """

    def __init__(self, robot: Robot, recorder: Recorder | None = None, rate_hz: float = 8.0) -> None:
        self._robot, self._recorder, self._period_s = robot, recorder, 1 / rate_hz
        self._look = Look(robot.snapshot(), robot.frames())
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._recording_trouble = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="console-hub", daemon=True)
        self._thread.start()

    @property
    def recording_trouble(self) -> str:
        """Why nothing is recorded any more; empty: all is well."""
        return self._recording_trouble

    def look(self) -> Look:
        """What is to be seen now; the same object as long as nothing has changed."""
        return self._look

    def picture(self, key: str) -> Picture | None:
        """A picture that is shown, or was a moment ago; None: no such."""
        kept = self._pictures.get(key)
        return kept or find_picture(self._look, key)

    def plan(self, sentence: str, operator: str) -> None:
        """See Robot."""
        self._refuse_when_lost()
        self._robot.plan(sentence, operator)

    def review(self, step: int, epoch: int, decision: Decision, text: str, operator: str) -> None:
        """See Robot."""
        self._refuse_when_lost()
        self._robot.review(step, epoch, decision, text, operator)

    def stop(self, operator: str) -> None:
        """See Robot."""
        self._robot.stop(operator)

    def hold(self, operator: str) -> None:
        """See Robot; tried even when the robot seems lost."""
        self._robot.hold(operator)

    def rearm(self, operator: str) -> None:
        """See Robot."""
        self._refuse_when_lost()
        self._robot.rearm(operator)

    def close(self) -> None:
        """Stop looking, and end the robot."""
        self._stopping.set()
        self._thread.join(2.0)
        self._robot.close()
        if self._recorder is not None:
            self._recorder.close()

    def _refuse_when_lost(self) -> None:
        if trouble := self._look.snapshot.trouble:
            raise Refused(f"Not done: {trouble}.")

    def _work(self) -> None:
        due_s = 0.0
        while not self._stopping.wait(_POLL_S):
            now_s = time.monotonic()
            frames = self._look.frames
            if now_s >= due_s:
                frames, due_s = self._robot.frames(), now_s + self._period_s
            self._show(self._robot.snapshot(), frames)

    def _show(self, snapshot: Snapshot, frames: Views) -> None:
        now = self._look
        if snapshot is now.snapshot and _same(frames, now.frames):
            return
        for _, picture in now.frames:
            self._pictures[picture.key] = picture
            self._pictures.move_to_end(picture.key)
        while len(self._pictures) > _KEPT_PICTURES:
            self._pictures.popitem(last=False)
        look = Look(snapshot, frames, now.version + 1)
        if self._recorder is not None and not self._recording_trouble:
            try:
                self._recorder.keep(look)
            except OSError as error:
                # a full disk must not take the page from the operator; the page says so
                self._recording_trouble = f"recording stopped: {error}"
                logger.error("%s", self._recording_trouble)
        self._look = look


def find_picture(look: Look, key: str) -> Picture | None:
    """A picture of that look by its key; None: it shows no such."""
    for views in (look.frames, *(v for step in look.snapshot.steps for v in (step.before, step.keyframe))):
        for _, picture in views:
            if picture.key == key:
                return picture
    return None


def _same(one: Views, other: Views) -> bool:
    return len(one) == len(other) and all(
        a[0] == b[0] and a[1] is b[1] for a, b in zip(one, other, strict=True)
    )
