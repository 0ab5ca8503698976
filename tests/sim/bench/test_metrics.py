"""Metrics against values worked out by hand."""

import math

import pytest

from sim.bench import metrics
from sim.bench.metrics import StepFacts, geometric_mean, progress, score, step_metrics

GOOD = StepFacts(
    valid=True, done=True, objects_found=4, objects=4, settle_m=0.001, feasible_m=0.002,
    background_level=0.0, agrees=True,
)  # fmt: skip
POOR = StepFacts(
    valid=True, done=False, objects_found=3, objects=4, settle_m=0.05, feasible_m=0.025,
    background_level=12.0, agrees=False,
)  # fmt: skip


def test_a_good_step_is_worth_its_share_of_a_fixed_denominator() -> None:
    assert set(step_metrics([GOOD], 1).values()) == {1.0}
    assert set(step_metrics([GOOD], 4).values()) == {0.25}
    assert set(step_metrics([], 4).values()) == {0.0}


def test_each_metric_of_a_poor_step() -> None:
    assert step_metrics([GOOD, POOR], 2) == {
        "valid": 1.0,
        "executable": 0.5,
        "configuration": 0.5,
        "permanence": 0.875,
        "background": 0.75,
        # 25 mm less the 5 that do not count
        "feasible": pytest.approx((1 + math.exp(-1)) / 2),
        "agreement": 0.5,
    }


def test_without_a_picture_pictured_metrics_are_nothing() -> None:
    found = step_metrics([StepFacts(valid=True, done=True)], 1)
    assert {k for k, v in found.items() if v == 0.0} == set(metrics.PICTURED)
    assert found["valid"] == found["executable"] == 1.0


def test_infinite_distances_are_zero() -> None:
    lost = StepFacts(
        valid=True, done=True, objects_found=0, objects=4, settle_m=math.inf, feasible_m=math.inf,
        background_level=99.0, agrees=False,
    )  # fmt: skip
    found = step_metrics([lost], 1)
    assert {found[k] for k in metrics.PICTURED} == {0.0}


def test_more_steps_than_the_denominator_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="denominator"):
        metrics.valid([GOOD, GOOD], 1)


@pytest.mark.parametrize(
    ("start", "end", "value"),
    [
        ({"a": False, "b": False, "empty": True}, {"a": True, "b": False, "empty": True}, 0.5),
        ({"a": False, "empty": True}, {"a": True, "empty": True}, 1.0),
        # what was true and is broken counts against what was won
        ({"a": False, "empty": True}, {"a": True, "empty": False}, 0.0),
        ({"a": False, "b": True}, {"a": False, "b": False}, 0.0),
        ({"a": True}, {"a": True}, 1.0),
        ({"a": True}, {"a": False}, 0.0),
    ],
)
def test_progress_counts_what_was_open(start: dict, end: dict, value: float) -> None:
    assert progress(start, end) == value


def test_the_geometric_mean_lets_no_axis_buy_another() -> None:
    assert geometric_mean([0.25, 1.0]) == pytest.approx(0.5)
    assert geometric_mean([1.0] * 8 + [0.0]) == 0.0
    with pytest.raises(ValueError, match="0 or more"):
        geometric_mean([-0.1])
    with pytest.raises(ValueError, match="0 or more"):
        geometric_mean([])


def test_no_score_when_something_was_not_scored() -> None:
    whole: dict[str, float | None] = dict.fromkeys(metrics.VECTOR, 0.5)
    assert score(whole) == pytest.approx(0.5)
    assert score({**whole, "agreement": None}) is None
    # success is reported beside the score; it is progress that counts
    assert score({**whole, "success_open": 0.0}) == pytest.approx(0.5)
