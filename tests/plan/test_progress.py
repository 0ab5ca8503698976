"""A live picture against a step's start and its keyframe."""

from dataclasses import replace

import numpy as np
import pytest

from emu_planner.plan.progress import ProgressLimits, Verdict, compare

LIMITS = ProgressLimits()


def table(*blocks: tuple[int, int]) -> np.ndarray:
    """A grey table [96, 96, 3] with red blocks of 8x8 at (row, column)."""
    picture = np.full((96, 96, 3), 120, np.uint8)
    for row, column in blocks:
        picture[row : row + 8, column : column + 8] = (200, 20, 20)
    return picture


START, KEYFRAME = table((10, 10)), table((60, 60))


def verdict(live: np.ndarray) -> Verdict:
    return compare(live, START, KEYFRAME).verdict(LIMITS)


def test_the_keyframe_itself_is_reached_and_the_start_is_not():
    assert verdict(KEYFRAME) is Verdict.REACHED
    assert verdict(START) is Verdict.UNKNOWN


def test_a_block_elsewhere_drifts():
    assert verdict(table((60, 10))) is Verdict.DRIFTING
    assert verdict(table((60, 60), (30, 80))) is Verdict.DRIFTING, "reached, but something else came"


def test_a_keyframe_that_is_not_exact_is_no_drift():
    imagined = table((60, 62))  # 2 pixels beside where the block really lies, and paler
    imagined[60:68, 62:70] = (170, 50, 50)
    inexact = compare(KEYFRAME, START, imagined)
    assert inexact.verdict(LIMITS) is Verdict.REACHED
    by_pixel = compare(KEYFRAME, START, imagined, soften_px=1, margin_px=0)
    assert inexact.strange == 0.0 < by_pixel.strange
    assert compare(table((60, 60), (30, 80)), START, imagined).verdict(LIMITS) is Verdict.DRIFTING


def test_a_covered_view_tells_nothing():
    covered = KEYFRAME.copy()
    covered[:, 30:55] = 0
    assert verdict(covered) is Verdict.UNKNOWN


def test_another_exposure_changes_no_verdict():
    for live, expected in ((KEYFRAME, Verdict.REACHED), (START, Verdict.UNKNOWN)):
        darker = (live * 0.8).astype(np.uint8)
        assert verdict(darker) is expected


def test_a_step_that_changes_nothing_is_reached():
    assert compare(START, START, START).score == 1.0


def test_sizes_and_limits_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="sizes differ"):
        compare(START[:10], START, KEYFRAME)
    with pytest.raises(ValueError, match="soften_px is 4"):
        compare(START, START, KEYFRAME, soften_px=4)
    with pytest.raises(ValueError, match="covered_share"):
        replace(LIMITS, drifting_share=LIMITS.covered_share)
