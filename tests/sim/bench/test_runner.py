"""Workers: every job once, in an entrant's order, whatever dies; the same rows however many work."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from sim.bench.ledger import Ledger
from sim.bench.runner import Work, WorkerError, run
from sim.bench.suite import SceneName
from sim.scene import BENCHMARK_FIRST_SEED

SCENES = [SceneName("zone", BENCHMARK_FIRST_SEED + i) for i in range(5)]
ENTRANTS = ["a", "b"]


@contextlib.contextmanager
def start_counting(log: Path, dies: Path | None = None) -> Iterator[Work]:
    """Jobs that only say their names; the worker dies once, or always, on the third scene."""

    def work(scene: SceneName, names: Sequence[str]) -> Iterator[tuple[str, dict]]:
        for name in names:
            if dies is not None and scene == SCENES[2] and name == "b":
                tries = int(dies.read_text())
                dies.write_text(str(tries - 1))
                if tries > 0:
                    os._exit(9)
            with log.open("a") as file:
                file.write(f"{name} {scene}\n")
            yield name, {"scene": str(scene)}

    yield work


@contextlib.contextmanager
def start_failing() -> Iterator[Work]:
    raise ValueError("no such checkpoint")
    yield


def jobs(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once_and_a_second_run_does_the_rest(tmp_path: Path, workers: int) -> None:
    log = tmp_path / "log"
    start = partial(start_counting, log)
    with Ledger(tmp_path / "rows.jsonl", {}) as ledger:
        seen = list(run(SCENES[:2], ENTRANTS, start, ledger, workers=workers))
        assert seen[0] == (0, 4)
        assert seen[-1] == (4, 4)
        assert (next(again := run(SCENES, ENTRANTS, start, ledger, workers=workers))) == (4, 10)
        assert list(again)[-1] == (10, 10)
        assert sorted(ledger.done) == sorted(f"{e} {s}" for e in ENTRANTS for s in SCENES)
        assert len(ledger.rows) == 10
    done = jobs(log)
    assert sorted(done) == sorted(set(done))
    for scene in SCENES:
        assert done.index(f"a {scene}") < done.index(f"b {scene}")


def test_a_worker_that_dies_once_is_replaced(tmp_path: Path) -> None:
    log, dies = tmp_path / "log", tmp_path / "dies"
    dies.write_text("1")
    with Ledger(tmp_path / "rows.jsonl", {}) as ledger:
        assert list(run(SCENES, ENTRANTS, partial(start_counting, log, dies), ledger, workers=2))[-1] == (
            10,
            10,
        )
        assert len(ledger.rows) == 10
    # what was finished before it died is not done again
    assert sorted(jobs(log)) == sorted(f"{e} {s}" for e in ENTRANTS for s in SCENES)


def test_a_worker_that_dies_again_ends_the_run_and_keeps_its_rows(tmp_path: Path) -> None:
    log, dies = tmp_path / "log", tmp_path / "dies"
    dies.write_text("9")
    with Ledger(tmp_path / "rows.jsonl", {}) as ledger:
        with pytest.raises(WorkerError, match=r"zone/1000000002"):
            list(run(SCENES, ENTRANTS, partial(start_counting, log, dies), ledger, workers=1))
        kept = set(ledger.done)
    assert {f"{e} {s}" for e in ENTRANTS for s in SCENES[:2]} <= kept
    dies.write_text("0")
    with Ledger(tmp_path / "rows.jsonl", {}) as ledger:
        list(run(SCENES, ENTRANTS, partial(start_counting, log, dies), ledger, workers=1))
        assert len(ledger.done) == 10


def test_a_worker_that_cannot_start_ends_the_run(tmp_path: Path) -> None:
    with (
        Ledger(tmp_path / "rows.jsonl", {}) as ledger,
        pytest.raises(WorkerError, match="no such checkpoint"),
    ):
        list(run(SCENES, ENTRANTS, start_failing, ledger, workers=2))
