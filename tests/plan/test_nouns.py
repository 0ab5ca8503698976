"""The nouns refuse what makes no sense, and compare by what they hold."""

import math
from functools import partial

import numpy as np
import pytest

from emu_planner.plan import (
    Camera,
    ErrorCode,
    Frame,
    Generation,
    Keyframe,
    Observation,
    PlanError,
    ProgressLimits,
    Stop,
    Task,
    Verdict,
    compare,
)
from tests.fakes import fake_observation

BLACK = np.zeros((4, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_subgoals", -1),
        ("seed", -1),
        ("seed", 2**64),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("guidance_scale", 0.5),
        ("guidance_scale", math.inf),
        ("first_subgoal_timeout_s", 0.0),
        ("subgoal_timeout_s", -1.0),
    ],
)
def test_generation_names_the_wrong_field(field, value):
    with pytest.raises(PlanError, match=field) as raised:
        Generation(**{field: value})
    assert raised.value.code is ErrorCode.INVALID_REQUEST


def test_generation_accepts_the_ends_of_each_range():
    Generation(max_subgoals=0, seed=2**64 - 1, temperature=0.0, top_k=1, top_p=1.0, guidance_scale=1.0)


@pytest.mark.parametrize("instruction", ["", "  \n", "x" * 2001])
def test_task_refuses_an_instruction_that_says_nothing_or_too_much(instruction):
    with pytest.raises(PlanError) as raised:
        Task(instruction)
    assert raised.value.code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("rgb", [BLACK[0], BLACK.astype(np.float32), BLACK[..., :1]])
def test_pictures_have_to_be_rgb_bytes(rgb):
    with pytest.raises(ValueError, match="uint8"):
        Frame(rgb, "front")
    with pytest.raises(ValueError, match="uint8"):
        Keyframe(rgb, ("front",))


def test_keyframe_splits_into_equally_wide_views():
    rgb = np.concatenate([BLACK, BLACK + 9], axis=1)
    keyframe = Keyframe(rgb, ("front", "side"))
    assert (keyframe.view("front") == 0).all()
    assert (keyframe.view("side") == 9).all()
    with pytest.raises(ValueError, match="views"):
        Keyframe(rgb, ("a", "b", "c"))


def test_equality_sees_pixels():
    assert fake_observation(1) == fake_observation(1)
    assert fake_observation(1) != fake_observation(2)
    assert Keyframe(BLACK, ("a",)) != Keyframe(BLACK, ("b",))


def test_observation_is_as_old_as_its_oldest_picture():
    observation = Observation((Frame(BLACK, "a", 2.0), Frame(BLACK, "b", 1.0)))
    assert observation.stamp_s == 1.0
    assert observation.frame("b").stamp_s == 1.0
    with pytest.raises(KeyError, match="c"):
        observation.frame("c")
    with pytest.raises(ValueError, match="twice"):
        Observation((Frame(BLACK, "a"), Frame(BLACK, "a")))


def test_camera_checks_size_and_intrinsics():
    with pytest.raises(ValueError, match="positive"):
        Camera("front", 0, 10)
    with pytest.raises(ValueError, match="k has 3"):
        Camera("front", 10, 10, k=(1.0, 2.0, 3.0))


def test_stop_runs_each_callback_once_and_late_ones_at_once():
    stop, ran = Stop(), []
    stop.when_requested(lambda: ran.append("early"))
    assert not stop.requested
    stop.request()
    stop.request()
    stop.when_requested(lambda: ran.append("late"))
    assert stop.requested
    assert ran == ["early", "late"]


def test_the_score_counts_only_the_changed_region():
    # brightness is matched by medians, so most of the picture stays as it was
    start = np.full((10, 10, 3), 100, np.uint8)
    keyframe = start.copy()
    keyframe[:4] = 200
    exact = partial(compare, soften_px=1, margin_px=0)
    assert exact(start, start, keyframe).score == 0.0
    half = start.copy()
    half[:4] = 150
    assert exact(half, start, keyframe).score == pytest.approx(0.5)
    dark_elsewhere = keyframe.copy()
    dark_elsewhere[9:] = 0
    assert exact(dark_elsewhere, start, keyframe).score == 1.0
    assert exact(dark_elsewhere, start, keyframe).strange == pytest.approx(0.1)
    assert compare(start, start, start).verdict(ProgressLimits()) is Verdict.REACHED
    with pytest.raises(ValueError, match="sizes differ"):
        compare(start[:4], start, keyframe)
