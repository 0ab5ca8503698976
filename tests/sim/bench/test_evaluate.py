"""A whole run, planner in its own process: the same rows with one worker, two, and after kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from emu_planner.plan import Keyframe, Step
from sim.bench import ledger, report
from sim.bench.evaluate import Setup, evaluate
from sim.bench.kept_plans import keep_plan, kept_plan
from sim.bench.ledger import LedgerError
from sim.bench.neighbour import Neighbours
from sim.bench.runner import WorkerError
from sim.bench.suite import SceneName, Suite
from sim.bench.supervisor import Limits
from sim.data import main as write_data
from sim.scene import BENCHMARK_FIRST_SEED
from tests.sim.bench.scripted import GREY, Breaks, OutOfReach, coarse, tokenized

ROOT = Path(__file__).parents[3]
SUITE = Suite(
    "two",
    1,
    (SceneName("container", BENCHMARK_FIRST_SEED + 3), SceneName("zone", BENCHMARK_FIRST_SEED + 9)),
)
CHEAP = ("oracle", "copy-first", "random-tokens", "text-only", "shuffled-steps", "scrambled-instruction")


def setup(out: Path, **changes: object) -> Setup:
    made = {"make": tokenized, "planner": "scripted", "identity": {"kind": "scripted"}, "controls": CHEAP}
    return Setup(**{"suite": SUITE, "out": out, **made, **changes})  # type: ignore[arg-type]


def rows(out: Path) -> list[str]:
    return sorted(json.dumps(row) for row in ledger.read(out / "rows.jsonl")[1])


# the same run as a program, to be killed
PROGRAM = """
import sys
from pathlib import Path
from tests.sim.bench.test_evaluate import setup
from sim.bench.evaluate import evaluate
if __name__ == "__main__":
    for done, total in evaluate(setup(Path(sys.argv[1])), workers=2):
        print(done, flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_rows_are_the_same_with_one_worker_with_two_and_after_a_kill(tmp_path: Path) -> None:
    one, two, killed = tmp_path / "one", tmp_path / "two", tmp_path / "killed"
    list(evaluate(setup(one), workers=1))
    list(evaluate(setup(two), workers=2))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(program), str(killed)],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit() and int(line) >= 3:
                break
        os.kill(process.pid, signal.SIGKILL)
    kept = rows_when_free(killed)
    assert 3 <= len(kept) < 16
    begun = list(evaluate(setup(killed), workers=2))
    assert begun[0] == (len(kept), 16)
    assert set(kept) <= set(rows(killed))
    assert rows(one) == rows(two) == rows(killed)
    assert len(rows(one)) == 16
    results = [json.loads((out / "results.json").read_text()) for out in (one, two, killed)]
    assert results[0] == results[1] == results[2]


def rows_when_free(out: Path) -> list[str]:
    """The rows once the killed run's workers are gone: they may not write, so rows stay as they are."""
    before = rows(out)
    time.sleep(1.0)
    assert rows(out) == before
    return before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_planner_that_breaks_loses_its_scenes_and_the_page_says_so(tmp_path: Path) -> None:
    made = setup(tmp_path, make=Breaks, planner="breaks", controls=("copy-first",), limits=Limits(plan_s=20))
    list(evaluate(made, workers=1))
    data = json.loads((tmp_path / "results.json").read_text())
    assert {row["score"] for row in data["entrants"]["copy-first"]} == {0.0}
    # no tokenizer is known: its pictures are not scored, its words are
    assert not data["gate"]["passed"]
    assert "--vision" in data["gate"]["why"]
    for row in data["entrants"]["breaks"]:
        assert row["score"] is None
        assert row["metrics"]["agreement"] is None
        assert row["metrics"]["success_closed"] == 0.0
    page = report.write(tmp_path).read_text()
    assert "pictures of breaks are not scored" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "data:image/jpeg;base64," in page
    for word in ("Best scenes", "Worst scenes", "scorer_sha256", "copy-first", "before", "executed"):
        assert word in page


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_coarse_tokenizer_is_refused_and_its_oracle_too(tmp_path: Path) -> None:
    list(evaluate(setup(tmp_path, make=coarse, controls=("oracle", "oracle-through-tokenizer")), workers=1))
    data = json.loads((tmp_path / "results.json").read_text())
    assert not data["gate"]["passed"]
    assert data["gate"]["trials"] == 4
    assert {row["score"] for row in data["entrants"]["scripted"]} == {None}
    assert {row["score"] for row in data["entrants"]["oracle-through-tokenizer"]} == {None}
    assert all(row["score"] > 0.98 for row in data["entrants"]["oracle"])
    # another planner's rows do not go into this folder
    with pytest.raises(LedgerError, match="planner"):
        list(evaluate(setup(tmp_path, identity={"kind": "another"}), workers=1))
    with pytest.raises(LedgerError, match="suite"):
        list(evaluate(setup(tmp_path, suite=Suite("two", 2, SUITE.scenes)), workers=1))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_outage_ends_the_run_and_is_no_row(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.touch()
    made = setup(tmp_path / "out", make=partial(OutOfReach, state), controls=("copy-first",))
    with pytest.raises(WorkerError, match="server_unavailable: nobody answers.*\n3 finished jobs are in"):
        list(evaluate(made, workers=1))
    kept = rows(made.out)
    assert len(kept) == 3
    assert not (made.out / "results.json").exists()
    state.write_text("up")
    first, *_ = evaluate(made, workers=1)
    assert first == (3, 6)
    assert set(kept) < set(rows(made.out))
    data = json.loads((made.out / "results.json").read_text())
    assert {row["reason"] for row in data["entrants"]["scripted"]} == {"stop"}


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown controls"):
        setup(tmp_path, controls=("luck",))
    with pytest.raises(ValueError, match="unknown planner"):
        setup(tmp_path, make=None, planner="luck")


def test_plans_are_kept_whole(tmp_path: Path) -> None:
    scene = SUITE.scenes[0]
    assert kept_plan(tmp_path, scene) is None
    steps = (Step(0, "pick up the red block", GREY), Step(1, "no picture", None))
    keep_plan(tmp_path, scene, steps)
    assert kept_plan(tmp_path, scene) == steps
    keep_plan(tmp_path, scene, ())
    assert kept_plan(tmp_path, scene) == ()
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_the_nearest_neighbour_is_the_scene_itself_when_it_is_there(tmp_path: Path) -> None:
    assert write_data(["--out", str(tmp_path / "data"), "--episodes", "4", "--workers", "1"]) == 0
    neighbours = Neighbours(tmp_path / "data")
    records = neighbours._records
    assert len(records) == 4
    for record in records:
        picture = neighbours._reader.frame(record, 0)
        steps = neighbours.plan(record.instruction, picture)
        assert [step.subgoal for step in steps] == list(record.subgoals)
        assert isinstance(steps[0].keyframe, Keyframe)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no episodes"):
        Neighbours(tmp_path / "empty")
