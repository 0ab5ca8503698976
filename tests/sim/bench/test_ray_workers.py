"""Ray's workers give the rows and plans of local processes; what is wrong is told in words."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from sim.bench import ray_workers
from sim.bench.evaluate import Setup, evaluate
from sim.bench.kept_plans import keep_plan, plan_path
from sim.bench.ledger import Ledger
from sim.bench.runner import Work, WorkerError
from sim.bench.suite import SceneName
from sim.bench.versions import versions
from tests.sim.bench.test_evaluate import SUITE, rows, setup

WITH_RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="ray is not installed: pip install -r requirements/ray.txt",
)


@contextlib.contextmanager
def naming(made: Setup, dies: Path | None = None) -> Iterator[Work]:
    """Rows that name the folder; the worker dies as often as the file says."""

    def work(scene: SceneName, names: Sequence[str]) -> Iterator[tuple[str, dict]]:
        for name in names:
            if dies is not None and name == "oracle" and (tries := int(dies.read_text())):
                dies.write_text(str(tries - 1))
                os._exit(9)
            if name == made.planner:
                keep_plan(made.plans, scene, ())
            with (made.out / "planner.log").open("a") as log:
                log.write(f"{name}\n")
            yield name, {"scene": str(scene), "fault": f"see {made.out / 'planner.log'}"}

    yield work


def test_a_hand_brings_rows_plans_and_log_home(tmp_path: Path) -> None:
    made = setup(tmp_path / "home")
    hand = ray_workers.Hand(made, naming, versions())
    scene = SUITE.scenes[0]
    first, second = hand.do(scene, ["scripted", "oracle"], None)
    assert first.row == second.row == {"scene": str(scene), "fault": f"see {made.out}/planner.log"}
    assert (first.log, second.log) == (b"scripted\n", b"oracle\n")
    keep_plan(tmp_path, scene, ())
    assert first.plan is not None
    assert first.plan[:2] == plan_path(tmp_path, scene).read_bytes()[:2] == b"PK"
    assert second.plan is None
    # a plan of an earlier run goes the other way
    (again,) = hand.do(scene, ["oracle"], b"earlier")
    assert again.plan is None
    assert plan_path(hand._setup.plans, scene).read_bytes() == b"earlier"
    away = hand._setup.out
    assert away.is_dir()
    hand.leave()
    assert not away.exists()
    assert not made.out.exists()


def test_a_machine_with_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"numpy .*, not 0\.1: scores would mix"):
        ray_workers.Hand(setup(tmp_path), naming, {**versions(), "numpy": "0.1"})


def test_without_ray_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install -r requirements/ray\.txt"):
        list(evaluate(setup(tmp_path), workers=1, ray="local"))


@WITH_RAY
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rows_are_those_of_a_local_process(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    list(evaluate(setup(near), workers=1))
    seen = list(evaluate(setup(far), workers=2, ray="local"))
    assert (seen[0], seen[-1]) == ((0, 16), (16, 16))
    assert rows(near) == rows(far)
    assert (near / "results.json").read_bytes() == (far / "results.json").read_bytes()
    for scene in SUITE.scenes:
        assert plan_path(near / "plans", scene).is_file() == plan_path(far / "plans", scene).is_file() is True


@WITH_RAY
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_that_dies_is_replaced_once_a_scene(tmp_path: Path) -> None:
    made = setup(tmp_path / "out", controls=("oracle",))
    dies = tmp_path / "dies"
    start = partial(naming, dies=dies)
    dies.write_text("9")
    with Ledger(made.rows_file, {}) as ledger, pytest.raises(WorkerError, match="died on scene container"):
        list(ray_workers.run(made, start, ledger, address="local", workers=1))
    dies.write_text("1")
    with Ledger(made.rows_file, {}) as ledger:
        # planner and gate of the first scene are there
        seen = list(ray_workers.run(made, start, ledger, address="local", workers=1))
        assert (seen[0], seen[-1]) == ((2, 6), (6, 6))


@WITH_RAY
def test_a_cluster_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"no Ray cluster at nonsense"):
        list(evaluate(setup(tmp_path), workers=1, ray="nonsense"))
