"""Each robot's oracle solves a sample of the record; the command counts, resumes and refuses."""

import json
from pathlib import Path

import pytest

from sim import oracle_record, robots
from sim.oracle_record import Run, main, scenes, table, work
from sim.scene import BENCHMARK_FIRST_SEED
from sim.tasks import FIRST


@pytest.mark.parametrize("robot", list(robots.ROBOTS))
def test_the_oracle_solves_a_sample_with_every_robot(robot: str) -> None:
    runs = list(work(robot, scenes(FIRST, 1)))
    assert [run.detail for run in runs] == [""] * 2 * len(FIRST)
    assert all(run.solved and run.robot == robot and 2 <= run.skills <= 8 for run in runs)
    assert {run.seed for run in runs} == {0, BENCHMARK_FIRST_SEED}
    assert all(run.seconds > 0 and run.steps > 100 for run in runs)


def test_the_command_prints_solved_of_tried_and_goes_on_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.jsonl"
    words = ["--robot", "kuka", "--families", "zone", "--out", str(out)]
    assert main([*words, "--seeds", "1"]) == 0
    told = capsys.readouterr().out
    assert "kuka    training  zone 1/1" in told
    assert "kuka    benchmark zone 1/1" in told
    assert "episodes/s and core" in told
    first = [json.loads(line) for line in out.read_text().splitlines()]
    assert main([*words, "--seeds", "2"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[:2] == first
    assert [row["seed"] for row in rows[2:]] == [1, BENCHMARK_FIRST_SEED + 1]
    monkeypatch.setattr(oracle_record, "solve", lambda *_: pytest.fail("solved again"))
    assert main([*words, "--seeds", "2"]) == 0


def test_a_failure_is_counted_and_told() -> None:
    runs = [
        Run("xarm", "stack", seed, seed == 0, "" if seed == 0 else "it slipped", 2, 300, 0.5)
        for seed in (0, 1)
    ]
    lines = table(runs)
    assert lines[0] == "xarm    training  stack 1/2"
    assert "2.0 episodes/s and core, 600 steps/s, 300 steps an episode" in lines[2]
    assert lines[-1] == "failed: xarm stack 1: it slipped"


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--robot", "ur5"], "panda, kuka, xarm, mobile"), (["--families", "juggle"], "juggle")],
)
def test_unknown_names_are_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert told in capsys.readouterr().err
