"""Figures without a state: each answers to the fault it is named for, and to no other."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from sim import recorded
from sim.oracle import next_skill
from sim.recorded import compare, controls, prepare
from sim.world import World


@pytest.fixture(scope="module")
def frames():
    """A recording: one scene of the simulator, looked at often while the oracle acts; with sensor noise."""
    chance, pictures = np.random.default_rng(0), []
    with World() as world:

        def look() -> None:
            if world.steps % 20 == 0 and world.steps > 0:
                pictures.append(world.picture())

        world.reset("stack", 4)
        pictures.append(world.picture())
        world.on_step = look
        while (skill := next_skill(world.scene.goal, world.state())) is not None:
            assert world.execute(skill).ok
        pictures.append(world.picture())
    noisy = [np.clip(p + chance.normal(0, 1.5, p.shape), 0, 255).round().astype(np.uint8) for p in pictures]
    assert len(noisy) >= 10
    return noisy


@pytest.fixture(scope="module")
def recording(frames):
    return prepare(frames)


@pytest.fixture(scope="module")
def itself(recording):
    return controls(recording, 3)["the recording itself"]


def one(recording, picture):
    (step,) = compare(recording, [picture]).steps
    return step


def patch_of(recording):
    """A square around the patch that is farthest from the others' centre, so that it is alone."""
    centres = np.array(recording.patches)
    x, y = centres[np.argmax(np.abs(centres - centres.mean(0)).sum(1))]
    return slice(max(y - 12, 0), y + 13), slice(max(x - 12, 0), x + 13)


def test_the_recording_agrees_with_itself_up_to_its_noise(recording, itself):
    assert 0.2 < recording.still.mean() < 1
    assert len(recording.patches) >= 5
    assert itself.mean("background_error") == pytest.approx(recording.floor, abs=0.5)
    assert itself.mean("shift_px") < 0.1
    assert itself.mean("sharpness") == pytest.approx(1, abs=0.15)
    assert itself.mean("nearest_error") == 0
    assert itself.in_order
    last = itself.steps[-1]
    assert last.nearest_frame == len(recording.frames) - 1
    assert last.nearest_copy_error > 20


def test_a_copy_is_perfect_in_all_but_what_happens(recording):
    copy = controls(recording, 3)["copy of the first picture"]
    for step in copy.steps:
        assert (step.background_error, step.changed_share, step.nearest_frame) == (0, 0, 0)
        assert (step.kept, step.moved, step.lost, step.doubled) == (1, 0, 0, 0)
        assert step.sharpness == 1
    last = one(recording, recording.frames[-1])
    assert last.changed_share > 0.005
    assert last.moved + last.lost > 0


def test_a_brighter_background_is_measured_in_grey_levels_and_its_growth_as_drift(recording):
    def brighter(levels):
        return np.clip(recording.first.astype(np.int16) + levels, 0, 255).astype(np.uint8)

    result = compare(recording, [brighter(2), brighter(4), brighter(6)])
    assert [round(step.background_error) for step in result.steps] == [2, 4, 6]
    assert result.background_drift == pytest.approx(2, abs=0.1)
    assert result.steps[2].shift_px < 0.1


def test_a_shifted_picture_is_measured_in_pixels(recording):
    moved = np.roll(recording.first, (3, 4), axis=(0, 1))
    assert one(recording, moved).shift_px == pytest.approx(5, abs=0.5)


def test_a_blurred_picture_is_less_sharp(recording):
    assert one(recording, cv2.GaussianBlur(recording.first, (0, 0), 2)).sharpness < 0.3


def test_a_vanished_object_is_lost(recording):
    rows, columns = patch_of(recording)
    gone = recording.first.copy()
    gone[rows, columns] = np.median(recording.first[rows, columns], axis=(0, 1))
    step = one(recording, gone)
    assert step.lost >= 1 / len(recording.patches)
    assert step.moved == 0
    assert step.kept == pytest.approx(1 - step.lost)


def test_an_object_that_moved_is_found_again_and_one_that_stayed_too_is_doubled(recording):
    rows, columns = patch_of(recording)
    height, width = recording.first[rows, columns].shape[:2]
    # where nothing is followed, so that nothing is covered
    free = next(
        (y, x)
        for y in range(0, recording.first.shape[0] - height, 4)
        for x in range(0, recording.first.shape[1] - width, 4)
        if all(
            not (x - 8 < px < x + width + 8 and y - 8 < py < y + height + 8) for px, py in recording.patches
        )
        and recording.first[y : y + height, x : x + width].std() < 8
    )
    doubled = recording.first.copy()
    doubled[free[0] : free[0] + height, free[1] : free[1] + width] = recording.first[rows, columns]
    step = one(recording, doubled)
    assert step.doubled > 0
    assert (step.kept, step.lost) == (1, 0)
    moved = doubled.copy()
    moved[rows, columns] = np.median(recording.first[rows, columns], axis=(0, 1))
    step = one(recording, moved)
    assert step.moved > 0
    assert step.doubled == 0


def test_keyframes_in_the_wrong_order_are_told(recording):
    frames = recording.frames
    assert compare(recording, [frames[2], frames[5], frames[-1]]).in_order
    assert not compare(recording, [frames[-1], frames[5], frames[2]]).in_order


def test_without_anything_to_follow_permanence_is_not_said(recording):
    step = one(replace(recording, patches=recording.patches[:2]), recording.first)
    assert (step.kept, step.moved, step.lost, step.doubled) == (None, None, None, None)
    assert compare(recording, [recording.first]).background_drift is None


def test_a_moving_camera_and_too_short_a_recording_are_refused(frames):
    # a textured wall that passes by
    wall = np.random.default_rng(1).integers(0, 256, (96, 400, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="the camera moved, or the light changed"):
        prepare([wall[:, 9 * n : 9 * n + 96].copy() for n in range(6)])
    with pytest.raises(ValueError, match="2 recorded pictures; expected 3 or more"):
        prepare(frames[:2])


def test_keyframes_of_another_size_and_no_keyframes_are_refused(recording):
    with pytest.raises(ValueError, match="keyframe 2 has the shape"):
        compare(recording, [recording.first, recording.first[:-1]])
    with pytest.raises(ValueError, match="no keyframe"):
        compare(recording, [])


def test_every_figure_is_shown(recording):
    figures = set(recorded.NAMES) | {"nearest_frame"}
    assert figures == set(vars(one(recording, recording.first)))
