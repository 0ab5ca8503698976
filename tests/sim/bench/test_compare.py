"""Paired comparison against values worked out by hand or published."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sim.bench.compare import check_comparable, compare, rate, read
from sim.statistics import bradley_terry, mcnemar_exact, stratified_interval, wilson
from tests.sim.bench.results import results

SCENES = [f"{family}/{seed}/panda" for family in ("stack", "zone") for seed in range(4)]


def write(tmp_path: Path, name: str, scores: list[float], **changes: object) -> str:
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(results(name, dict(zip(SCENES, scores, strict=False)), **changes)))
    return str(path)


def test_wins_ties_and_losses_by_a_margin(tmp_path: Path) -> None:
    a = read(write(tmp_path, "a", [0.9, 0.5, 0.5, 0.2, 0.5, 0.5, 0.5, 0.5]))
    b = read(write(tmp_path, "b", [0.1, 0.49, 0.5, 0.9, 0.4, 0.4, 0.4, 0.4]))
    check_comparable([a, b])
    pair = compare(a, b, "score", 0.02)
    assert (pair.wins, pair.ties, pair.losses) == (5, 2, 1)
    assert pair.win_share == 6 / 8
    assert pair.wilson == wilson(6, 8)
    assert pair.bootstrap[0] < 6 / 8 < pair.bootstrap[1]
    assert pair.difference == pytest.approx((0.8 + 0.01 - 0.7 + 0.4) / 8)
    # only scene 0 is done by a alone, only scene 3 by b alone
    assert pair.closed == (1, 1, 1.0)
    back = compare(b, a, "score", 0.02)
    assert (back.wins, back.ties, back.losses) == (1, 2, 5)
    wide = compare(a, b, "score", 0.5)
    assert (wide.wins, wide.ties, wide.losses) == (1, 6, 1)


def test_the_same_twice_is_a_tie_everywhere(tmp_path: Path) -> None:
    a = read(write(tmp_path, "a", [0.1 * i for i in range(8)]))
    pair = compare(a, a, "score", 0.0)
    assert (pair.wins, pair.ties, pair.losses) == (0, 8, 0)
    assert pair.win_share == 0.5
    assert pair.bootstrap == (0.5, 0.5)
    assert pair.difference_interval == (0.0, 0.0)
    assert pair.closed[2] == 1.0


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    a = read(write(tmp_path, "a", [0.5] * 8))
    for name, changes, told in (
        ("b", {"suite": {"name": "quick", "version": 2, "sha256": "e" * 64}}, "suite"),
        ("c", {"versions": {"scorer_sha256": "2" * 64, "numpy": "2"}}, "scorer_sha256"),
    ):
        with pytest.raises(ValueError, match=told):
            check_comparable([a, read(write(tmp_path, name, [0.5] * 8, **changes))])
    with pytest.raises(ValueError, match="8 scenes and d 3"):
        check_comparable([a, read(write(tmp_path, "d", [0.5] * 3))])
    with pytest.raises(ValueError, match="no 'luck'"):
        read(write(tmp_path, "e", [0.5] * 8) + "#luck")
    with pytest.raises(ValueError, match="no results file"):
        read(str(tmp_path / "nothing.json"))
    with pytest.raises(ValueError, match="unknown metric"):
        compare(a, a, "beauty", 0.0)


def test_a_refused_score_is_told_with_a_way_out(tmp_path: Path) -> None:
    path = Path(write(tmp_path, "a", [0.5] * 8))
    data = json.loads(path.read_text())
    for row in data["entrants"]["a"]:
        row["score"] = row["metrics"]["agreement"] = None
    path.write_text(json.dumps(data))
    entrant = read(str(path))
    with pytest.raises(ValueError, match="progress_closed"):
        compare(entrant, entrant, "score", 0.0)
    assert compare(entrant, entrant, "progress_closed", 0.0).ties == 8


def test_mcnemar_is_a_fair_coins_tail() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 0) == 2 / 32
    assert mcnemar_exact(0, 5) == 2 / 32
    assert mcnemar_exact(3, 3) == 1.0
    # 1 of 10: 2 * (1 + 10) / 1024
    assert mcnemar_exact(1, 9) == pytest.approx(22 / 1024)


def test_bradley_terry_gives_back_the_odds() -> None:
    # a beats b 10 to 1 many times over: 400 points
    wins = np.array([[0, 1000.0], [10_000.0, 0]])
    first, second = bradley_terry(wins)
    assert first == 1000
    assert second == pytest.approx(1400, abs=1)
    three = bradley_terry(np.array([[0, 50.0, 50.0], [50.0, 0, 50.0], [50.0, 50.0, 0]]))
    assert three == pytest.approx([1000, 1000, 1000], abs=1e-6)
    # who never lost is strong, and finite
    never = bradley_terry(np.array([[0, 0.0], [20.0, 0]]))
    assert 1400 < never[1] < 2000
    with pytest.raises(ValueError, match="n, n"):
        bradley_terry(np.zeros((1, 1)))


def test_ratings_of_three_are_in_order_with_intervals(tmp_path: Path) -> None:
    a = read(write(tmp_path, "a", [0.5] * 8))
    b = read(write(tmp_path, "b", [0.6] * 6 + [0.4] * 2))
    c = read(write(tmp_path, "c", [0.9] * 8))
    ratings = rate([a, b, c], "score", 0.02)
    assert [r.name for r in ratings] == ["a", "b", "c"]
    assert ratings[0].strength == 1000
    assert ratings[0].strength < ratings[1].strength < ratings[2].strength
    assert ratings[1].interval[0] < ratings[1].strength < ratings[1].interval[1]


def test_the_bootstrap_keeps_to_its_strata() -> None:
    # every scene of a family is alike: nothing varies when families keep their sizes
    value = {"s1": 0.0, "s2": 0.0, "z1": 1.0, "z2": 1.0}

    def mean(drawn: dict[str, int]) -> float:
        return sum(value[name] * n for name, n in drawn.items()) / sum(drawn.values())

    strata = {"stack": ["s1", "s2"], "zone": ["z1", "z2"]}
    assert stratified_interval(strata, mean, samples=200) == (0.5, 0.5)  # type: ignore[arg-type]
    low, high = stratified_interval({"all": list(value)}, mean, samples=200)  # type: ignore[arg-type]
    assert low < 0.25
    assert high > 0.75
    assert all(math.isnan(v) for v in stratified_interval({}, mean))  # type: ignore[arg-type]


def test_robots_of_one_seed_are_one_cluster(tmp_path: Path) -> None:
    scenes = [f"stack/{seed}/{robot}" for seed in range(6) for robot in ("panda", "xarm6")]
    one = dict(zip(scenes, [0.9, 0.9, 0.1, 0.1] * 3, strict=True))
    path = tmp_path / "a.json"
    path.write_text(json.dumps(results("a", one)))
    other = tmp_path / "b.json"
    other.write_text(json.dumps(results("b", dict.fromkeys(scenes, 0.5))))
    pair = compare(read(str(path)), read(str(other)), "score", 0.0)
    assert pair.win_share == 0.5
    # six independent clusters, not twelve: the interval is as wide as that of six coins
    assert pair.bootstrap[1] - pair.bootstrap[0] >= 0.6
