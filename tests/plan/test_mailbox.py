"""Mailbox: one slot a camera, the newest wins."""

import threading

import numpy as np
import pytest

from emu_planner.plan import ErrorCode, Frame, Mailbox, PlanError, Still
from tests.fakes import fake_observation


def picture(camera: str, level: int) -> Frame:
    return Frame(np.full((2, 2, 3), level, np.uint8), camera, float(level))


def test_newest_replaces_and_counts_what_nobody_took():
    box = Mailbox(("front", "side"))
    for level in (1, 2, 3):
        box.put(picture("front", level))
    box.put(picture("side", 4))
    observation = box.newest()
    assert [frame.stamp_s for frame in observation.frames] == [3.0, 4.0]
    assert box.superseded == 2
    box.put(picture("front", 5))
    assert box.superseded == 2
    assert box.newest().seq > observation.seq


def test_incomplete_observation_names_the_missing_camera():
    box = Mailbox(("front", "side"))
    box.put(picture("front", 1))
    with pytest.raises(PlanError, match="side") as raised:
        box.newest()
    assert raised.value.code is ErrorCode.STALE_OBSERVATION
    with pytest.raises(ValueError, match="rear"):
        box.put(picture("rear", 1))


def test_newer_than_waits_for_the_next_picture():
    box = Mailbox(("front",))
    box.put(picture("front", 1))
    seq = box.newest().seq
    with pytest.raises(PlanError):
        box.newer_than(seq, 0.01)
    feeder = threading.Timer(0.05, box.put, [picture("front", 2)])
    feeder.start()
    assert box.newer_than(seq, 10.0).stamp_s == 2.0
    feeder.join()


def test_clear_forgets_all():
    box = Mailbox(("front",))
    box.put(picture("front", 1))
    assert box.stamps_s() == {"front": 1.0}
    box.clear()
    assert box.stamps_s() == {}
    with pytest.raises(PlanError):
        box.newest()


def test_still_shows_the_same_for_ever():
    observation = fake_observation()
    assert Still(observation).newest() is observation
