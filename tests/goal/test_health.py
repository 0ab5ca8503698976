"""Cameras that are frozen, dark, of another size, or on a new clock."""

import numpy as np
import pytest

from emu_planner.goal.health import CameraWatch, HealthLimits
from emu_planner.plan import Frame


def frame(level: int, stamp_s: float = 0.0, size: tuple[int, int] = (64, 48)) -> Frame:
    return Frame(np.full((size[1], size[0], 3), level, np.uint8), "cam", stamp_s)


def test_the_same_pixels_with_new_stamps_are_frozen():
    watch = CameraWatch(HealthLimits(frozen_after_s=2.0))
    for step in range(60):
        watch.see(frame(90, stamp_s=step / 30), step / 30)
    assert not watch.trouble()
    watch.see(frame(90, stamp_s=2.1), 2.1)
    assert watch.trouble() == "the same picture for 2.1 s"
    watch.see(frame(91), 2.1)
    assert not watch.trouble()


def test_a_camera_that_fell_silent_is_not_called_frozen():
    watch = CameraWatch(HealthLimits(frozen_after_s=2.0))
    watch.see(frame(90), 0.0)
    watch.see(frame(90), 1.0)
    assert watch.rate_hz(60.0) == 0.0
    assert not watch.trouble()


def test_without_a_limit_nothing_is_frozen():
    watch = CameraWatch(HealthLimits())
    watch.see(frame(90), 0.0)
    watch.see(frame(90), 1e6)
    assert not watch.trouble()


def test_a_dark_picture_is_noticed_and_forgiven():
    watch = CameraWatch(HealthLimits(dark_level=4.0))
    watch.see(frame(3), 0.0)
    assert watch.trouble() == "dark (mean 3.0 of 255)"
    watch.see(frame(40), 0.1)
    assert not watch.trouble()


def test_another_size_is_noticed():
    watch = CameraWatch(HealthLimits(), (64, 48))
    watch.see(frame(90), 0.0)
    assert not watch.trouble()
    watch.see(frame(90, size=(32, 48)), 0.1)
    assert watch.trouble() == "32x48 px, expected 64x48"


def test_the_rate_is_that_of_the_last_pictures_and_ends_with_them():
    watch = CameraWatch(HealthLimits())
    assert watch.rate_hz(0.0) == 0.0
    for step in range(100):
        watch.see(frame(step), 0.1 * step)
    assert watch.rate_hz(9.9) == pytest.approx(10.0)
    assert watch.rate_hz(60.0) == 0.0


def test_a_pause_is_no_frozen_picture():
    watch = CameraWatch(HealthLimits(frozen_after_s=2.0))
    watch.see(frame(90), 0.0)
    watch.rest()
    assert not watch.trouble()
    watch.see(frame(90), 600.0)
    assert not watch.trouble()
    watch.see(frame(90), 602.5)
    assert watch.trouble()


@pytest.mark.parametrize(("pace", "told"), [(0.1, 0.1), (1.0, 1.0), (20.0, 1.0), (0.0, 0.0)])
def test_the_pace_of_a_cameras_clock_is_that_of_its_last_pictures(pace: float, told: float):
    watch = CameraWatch(HealthLimits())
    watch.see(frame(90, 1000.0), 0.0)
    assert watch.pace() == 1.0
    for step in range(50):
        watch.see(frame(90, 5.0 + pace * 0.1 * step), 1.0 + 0.1 * step)
    assert watch.pace() == pytest.approx(told)


def test_a_clock_that_goes_back_is_counted_and_one_that_wobbles_is_not():
    watch = CameraWatch(HealthLimits())
    for stamp_s in (100.0, 99.9, 100.1, 1.0, 1.1):
        watch.see(frame(90, stamp_s), 0.0)
    assert watch.clock == 1
