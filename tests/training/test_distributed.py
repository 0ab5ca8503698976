"""Two processes that learn one model take the steps of one process with all rows, in both ways."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from emu_planner.cli.main import main
from emu_planner.training.distributed import Team, team
from tests.training.team_member import CPU, learn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# float32 sums in another order; Muon orthogonalises in bfloat16, which is coarser
_NEAR = {"adamw": 1e-4, "muon": 2e-3}
# what two processes run one after the other; "more" goes on from a run of one process
_CASES = [
    {"out": "replicate-muon", "way": "replicate", "optimiser": "muon", "steps": 20},
    {"out": "shard-adamw", "way": "shard", "optimiser": "adamw", "steps": 20},
    {"out": "shard-more", "way": "shard", "optimiser": "adamw", "steps": 40},
]


def run_two(folder: Path) -> None:
    """Start two members of a team, as torchrun does."""
    root = Path(__file__).parents[2]
    given = {
        **os.environ,
        **{"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"},
        **{"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    }
    command = [sys.executable, "-m", "tests.training.team_member", str(folder)]
    members = [
        subprocess.Popen(
            command, env={**given, "RANK": rank, "LOCAL_RANK": rank}, cwd=root,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        said = [member.communicate(timeout=240)[0] for member in members]
    finally:
        for member in members:
            member.kill()
    assert [member.returncode for member in members] == [0, 0], "\n".join(said)
    # the first talks, the others are silent
    assert "parameters" in said[0]
    assert "parameters" not in said[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one process, and of two."""
    folder = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for optimiser in ("muon", "adamw"):
            learn(folder / f"alone-{optimiser}", optimiser, 20)
        shutil.copytree(folder / "alone-adamw", folder / "shard-more")
        (folder / "cases.json").write_text(json.dumps([{**c, "port": free_port()} for c in _CASES]))
        run_two(folder)
        learn(folder / "alone-adamw", "adamw", 40)
    finally:
        torch.set_num_threads(threads)
    return folder


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def figures(run: Path, name: str) -> dict[int, float]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row[name] for row in rows if name in row}


@pytest.mark.parametrize(
    ("several", "alone", "steps"),
    [
        ("replicate-muon", "alone-muon", [1, 20]),
        ("shard-adamw", "alone-adamw", [1, 20]),
        ("shard-more", "alone-adamw", [1, 20, 40]),
    ],
)
def test_losses_are_those_of_one_process(runs: Path, several: str, alone: str, steps: list[int]) -> None:
    near = _NEAR[alone.removeprefix("alone-")]
    for name in ("loss", "text", "visual", "norm"):
        found, expected = figures(runs / several, name), figures(runs / alone, name)
        assert sorted(found) == steps
        for step in steps:
            assert found[step] == pytest.approx(expected[step], rel=near), (name, step)
    assert figures(runs / several, "loss")[20] < 0.8 * figures(runs / several, "loss")[1]
    held_out = figures(runs / several, "held_out")
    assert held_out == pytest.approx({n: figures(runs / alone, "held_out")[n] for n in held_out}, rel=near)


def test_states_and_checkpoints_are_those_of_one_process(runs: Path) -> None:
    for several, alone in (("replicate-muon", "alone-muon"), ("shard-more", "alone-adamw")):
        near = _NEAR[alone.removeprefix("alone-")]
        found = torch.load(runs / several / "state.pt", weights_only=True)
        expected = torch.load(runs / alone / "state.pt", weights_only=True)
        assert found["step"] == expected["step"]
        assert found["model"].keys() == expected["model"].keys()
        for name, tensor in expected["model"].items():
            assert torch.allclose(found["model"][name], tensor, atol=near), name
        for own, other in zip(found["optimisers"], expected["optimisers"], strict=True):
            assert own["param_groups"] == other["param_groups"]
            assert own["state"].keys() == other["state"].keys()
            for index, kept in other["state"].items():
                for name, value in kept.items():
                    assert own["state"][index][name].shape == value.shape
        saved = torch.load(runs / several / "saved.pt", weights_only=True)
        assert all(torch.equal(saved[name], tensor) for name, tensor in found["model"].items())


def test_one_process_goes_on_from_a_run_of_two(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "shard-adamw", tmp_path / "run")
    learn(tmp_path / "run", "adamw", 40)
    expected = figures(runs / "alone-adamw", "loss")[40]
    assert figures(tmp_path / "run", "loss")[40] == pytest.approx(expected, rel=_NEAR["adamw"])


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    class Three(Team):
        size = 3

    class Parted(Team):
        optimisers = ("adamw",)

    with pytest.raises(ValueError, match="4 rows a step do not divide among 3"):
        learn(tmp_path, "adamw", 1, Three())
    with pytest.raises(ValueError, match="muon needs whole matrices"):
        learn(tmp_path, "muon", 1, Parted())
    with pytest.raises(ValueError, match="replicate or shard"), team("other", CPU):
        pass


def test_other_trainings_are_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for stage, needed in (("tokenizer", "--data"), ("grpo", "--checkpoint")):
        assert main(["train", stage, needed, "nano", "--out", str(tmp_path)]) == 2
        assert f"train {stage} is one process" in capsys.readouterr().out


def test_a_team_that_stands_at_different_steps_is_told(tmp_path: Path) -> None:
    class Other(Team):
        size = 2

        def total(self, value: float) -> float:
            return value + 7

    with pytest.raises(ValueError, match="stand at different steps"):
        learn(tmp_path, "adamw", 1, Other())


def test_a_gpu_that_all_would_share_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    one = torch.device("cuda:1")
    with pytest.raises(ValueError, match="cuda:1 is one GPU for 2 processes"), team("replicate", one):
        pass
