"""Intervals against published or hand-computed values, and the table's figures from rows."""

import math

import pytest

from sim.bench.metrics import VECTOR
from sim.bench.summary import Mean, Share, by_family, summarise, summarise_ceiling, vector
from sim.statistics import bootstrap_mean, wilson


def step(
    *,
    valid: bool = True,
    agrees: bool | None = True,
    possible: bool | None = True,
    error: float | None = 2.0,
    copy: float | None = 10.0,
) -> dict:
    return {
        "subgoal": "pick up the red block", "facts": {"valid": valid, "done": valid, "agrees": agrees},
        "keyframe_error": error, "copy_error": copy, "keyframe_possible": possible,
    }  # fmt: skip


def scene(
    name: str, *steps: dict, valid: bool = True, opened: bool = True, closed: bool = True, score: float = 1.0
) -> dict:
    vector = dict.fromkeys(VECTOR, 0.5) | {"success_open": float(opened), "success_closed": float(closed)}
    return {
        "planner": "p", "scene": name, "steps": list(steps), "plan_valid": valid, "metrics": vector,
        "score": score,
    }  # fmt: skip


# 81 of 263 and 15 of 148: Newcombe 1998, table I; the ends by solving the quadratic
@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (100, 100, 0.9630, 1.0),
    ],
)
def test_wilson_agrees_with_published_intervals(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials) == pytest.approx((low, high), abs=6e-5)


def test_wilson_without_trials_knows_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_of_single_values_is_the_normal_interval() -> None:
    # 400 values of mean 0 and variance 1: 1.96 / 20
    mean, low, high = bootstrap_mean([[-1.0], [1.0]] * 200)
    assert mean == 0.0
    assert low == pytest.approx(-0.098, abs=0.01)
    assert high == pytest.approx(0.098, abs=0.01)


def test_bootstrap_keeps_scenes_together() -> None:
    alone = bootstrap_mean([[-1.0], [1.0]] * 200)
    together = bootstrap_mean([[-1.0] * 100, [1.0] * 100] * 2)
    assert together[2] - together[1] > 5 * (alone[2] - alone[1])


def test_bootstrap_weighs_values_and_leaves_out_empty_scenes() -> None:
    assert bootstrap_mean([[1.0], [4.0, 4.0], []])[0] == 3.0
    assert bootstrap_mean([[5.0, 5.0], [], [5.0]]) == (5.0, 5.0, 5.0)
    assert all(math.isnan(value) for value in bootstrap_mean([[], []]))


def test_summary_counts_what_is_missing_as_wrong() -> None:
    rows = [
        scene("stack/1/panda", step(), step(error=4.0, agrees=False)),
        scene(
            "zone/1/panda",
            step(valid=False, error=None, copy=None, agrees=None, possible=None),
            valid=False, opened=False,
        ),
        scene("zone/2/panda", valid=False, opened=False, closed=False),
    ]  # fmt: skip
    figures = {figure.name: figure for figure in summarise(rows)}
    shares = {name: (f.hits, f.trials) for name, f in figures.items() if isinstance(f, Share)}
    assert shares == {
        "plans whose every subgoal is valid": (1, 3),
        "subgoals valid": (2, 3),
        "task success, closed loop": (2, 3),
        "task success, open loop": (1, 3),
        "keyframes that show what the words say": (1, 2),
        "keyframes that show a possible step": (2, 2),
    }
    error = figures["keyframe error in the changed region"]
    paired = figures["difference to copying, paired"]
    assert isinstance(error, Mean)
    assert isinstance(paired, Mean)
    assert error.clusters == [[2.0, 4.0], [], []]
    assert paired.clusters == [[-8.0, -6.0], [], []]
    assert str(error) == "3.00 (3.00 to 3.00)"
    assert str(figures["task success, open loop"]).startswith("33.3% (1/3; ")
    assert list(by_family(rows)) == ["stack", "zone"]
    assert len(by_family(rows)["zone"]) == 2


def test_summary_of_nothing_says_nothing() -> None:
    assert {str(figure) for figure in summarise([])} == {"-"}


def test_ceiling_groups_its_decibels_by_scene() -> None:
    rows = [
        {"scene": "stack/1/panda", "right": True, "right_without": True, "psnr_db": 30.0},
        {"scene": "stack/1/panda", "right": False, "right_without": True, "psnr_db": 32.0},
        {"scene": "sort/1/panda", "right": True, "right_without": True, "psnr_db": 34.0},
    ]
    after, without, decibels = summarise_ceiling(rows)
    assert isinstance(after, Share)
    assert isinstance(without, Share)
    assert isinstance(decibels, Mean)
    assert (after.hits, without.hits, after.trials) == (2, 3, 3)
    assert decibels.clusters == [[30.0, 32.0], [34.0]]


def test_the_vector_is_means_over_scenes_and_the_score_is_last() -> None:
    rows = [scene("stack/1/panda", score=1.0), scene("zone/1/panda", score=0.5, closed=False)]
    means = vector(rows)
    assert [mean.name for mean in means] == [*VECTOR, "score"]
    values = {mean.name: mean.value for mean in means}
    assert values["score"] == 0.75
    assert values["success_closed"] == 0.5
    assert values["valid"] == 0.5


def test_what_was_not_scored_is_shown_as_nothing() -> None:
    rows = [scene("stack/1/panda")]
    rows[0]["score"] = None
    assert vector(rows)[-1].short == "-"
