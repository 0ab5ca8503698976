"""All trainings from the command line, a few real steps on a CPU, to a checkpoint that plans."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from emu_planner.cli.main import main
from emu_planner.engine.planner import EmuPlanner
from emu_planner.model.checkpoint import load_vision_tokenizer, save_vision_tokenizer
from emu_planner.plan import ErrorCode, Event, Generation, PlanError, PlanStarted, Task, TextDelta
from emu_planner.plan.frame import Still
from emu_planner.training.episodes import encode_frames
from emu_planner.training.frames import load_frames
from sim import data
from sim.camera import VIEWS
from sim.data import EpisodeReader
from sim.world import World
from tools import ablate

pytestmark = pytest.mark.slow

_VISION = ("--size", "tiny", "--device", "cpu", "--batch-size", "2", "--limit", "12", "--rate", "2e-3")
_LANGUAGE = (
    *("--device", "cpu", "--width", "64", "--layers", "1", "--rate", "2e-2"),
    *("--context", "2048", "--rows", "1"),
)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes")
    assert data.write(folder, episodes=12, first_seed=0)["written"] >= 10
    return folder


@pytest.fixture(scope="module")
def vision_run(episodes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vision")
    train("tokenizer", episodes, out, 20, *_VISION)
    return out


@pytest.fixture(scope="module")
def language_run(episodes: Path, vision_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("language")
    train("lm", episodes, out, 60, "--tokenizer", str(vision_run / "checkpoint"), *_LANGUAGE)
    return out


def train(stage: str, episodes: Path, out: Path, steps: int, *words: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        given = ["train", stage, "--data", str(episodes), "--out", str(out), "--steps", str(steps), *words]
        assert main(given) == 0
    finally:
        torch.set_num_threads(threads)


def logged(run: Path, name: str) -> dict[int, float]:
    """The values of one figure by step; all of them finite."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    found = {row["step"]: row[name] for row in rows if name in row}
    assert all(math.isfinite(value) for value in found.values())
    return found


def saved_step(run: Path) -> int:
    state = torch.load(run / "state.pt", weights_only=True)
    assert isinstance(state["step"], int)
    return state["step"]


def test_the_tokenizer_learns(vision_run: Path) -> None:
    loss = logged(vision_run, "loss")
    assert list(loss) == [1, 20]
    assert loss[20] < 0.8 * loss[1]
    assert saved_step(vision_run) == 20


def test_its_codes_have_unit_length_and_are_not_a_handful(episodes: Path, vision_run: Path) -> None:
    vision = load_vision_tokenizer(vision_run / "checkpoint").eval()
    lengths = vision.quantize.embedding.weight.detach().float().norm(dim=1)
    # stored in bfloat16, which rounds to 1 in 256
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=0.01)
    reader = EpisodeReader(episodes)
    frames = load_frames(reader, list(reader)[:2])
    codes = encode_frames(vision, frames)
    assert codes.shape == (len(frames), 12, 24)
    assert codes.max() < len(lengths)
    # a collapsed one uses up to 5
    assert len(np.unique(codes)) > 12


def test_the_language_model_learns(language_run: Path) -> None:
    loss = logged(language_run, "loss")
    assert list(loss) == [1, 20, 40, 60]
    assert loss[60] < 0.8 * loss[1]
    assert list(logged(language_run, "held_out")) == [60]
    assert saved_step(language_run) == 60


def test_its_checkpoint_plans(language_run: Path) -> None:
    planner = EmuPlanner.load(str(language_run / "checkpoint"), device="cpu", threads=1)
    with World() as world:
        scene = world.reset("stack", 3)
        frames = Still(world.observation())
    task = Task(scene.instruction, Generation(max_subgoals=1, seed=1))
    events: list[Event] = []
    try:
        for event in planner.plan(task, frames):
            events.append(event)
    except PlanError as error:
        # so little training need not end in a sentence
        if error.code is not ErrorCode.INVALID_OUTPUT:
            raise
    assert planner.config.views == VIEWS
    assert isinstance(events[0], PlanStarted)
    assert any(isinstance(event, TextDelta) for event in events)


def test_it_begins_with_another_model_and_codes_elsewhere(
    episodes: Path, language_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = language_run / "checkpoint"
    words = (
        "--init",
        str(source),
        "--coders",
        "cpu,cpu",
        "--device",
        "cpu",
        "--context",
        "2048",
        "--rows",
        "1",
    )
    train("lm", episodes, tmp_path, 1, *words, "--rate", "1e-4")
    assert [path.name for path in tmp_path.glob("codes/*/*")] == ["shard-00000.npy"]
    assert logged(tmp_path, "loss")[1] < 0.8 * logged(language_run, "loss")[1]
    assert (tmp_path / "checkpoint/emu3.tiktoken").read_bytes() == (source / "emu3.tiktoken").read_bytes()
    assert main(["train", "lm", "--data", str(episodes), "--out", str(tmp_path / "other")]) == 2
    assert "--init" in capsys.readouterr().out


def test_a_trained_model_is_adapted_to_dida(
    episodes: Path,
    language_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, source = tmp_path_factory.mktemp("dida"), language_run / "checkpoint"
    words = ("--checkpoint", str(source), "--codes", str(language_run / "codes"), "--passes", "3")
    words += ("--device", "cpu", "--context", "1536", "--rows", "1", "--rate", "2e-3", "--shift", "2")
    train("dida", episodes, out, 4, *words)
    assert set(logged(out, "noisy")) == {1}
    assert set(logged(out, "held_out_noisy")) == {4}
    # it begins with what was learned
    assert logged(out, "text")[1] < 0.7 * logged(language_run, "text")[1]
    train("dida", episodes, out, 5, *words)
    assert "going on from step 4" in capsys.readouterr().out
    planner = EmuPlanner.load(str(out / "checkpoint"), device="cpu", threads=1)
    assert planner.config.decoder == "dida"
    assert planner.config.dida is not None
    assert (planner.config.dida.steps, planner.config.dida.path.shift) == (3, 2.0)
    assert planner.config.views == VIEWS
    with pytest.raises(ValueError, match="not adapted"):
        EmuPlanner.load(str(source), device="cpu", threads=1, decoder="dida")


def test_a_run_goes_on_where_it_was(
    episodes: Path,
    vision_run: Path,
    language_run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train("lm", episodes, language_run, 80, "--tokenizer", str(vision_run / "checkpoint"), *_LANGUAGE)
    assert "going on from step 60" in capsys.readouterr().out
    assert saved_step(language_run) == 80
    assert list(logged(language_run, "loss")) == [1, 20, 40, 60, 80]
    train("tokenizer", episodes, vision_run, 22, *_VISION)
    assert "going on from step 20" in capsys.readouterr().out
    assert saved_step(vision_run) == 22


def test_settings_are_compared_and_not_learned_twice(
    episodes: Path,
    vision_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = []

    def here(*words: str) -> None:
        ran.append(words)
        assert main(list(words)) == 0

    monkeypatch.setattr(ablate, "emu_planner", here)
    given = ["--data", str(episodes), "--tokenizer", str(vision_run / "checkpoint"), "--out", str(tmp_path)]
    given += ["--steps", "1", "--options", " ".join(_LANGUAGE)]
    assert ablate.main([*given, "base", "few: --episodes 2 --visual-weight 1"]) == 0
    head, _, base, few = (tmp_path / "table.md").read_text().splitlines()
    assert head == "| setting | options | steps | held out | words | codes | training |"
    held_out = logged(tmp_path / "few", "held_out")[1]
    assert few.startswith(f"| few | --episodes 2 --visual-weight 1 | 1 | {held_out:.4f} |")
    assert base.startswith("| base |  | 1 |")
    assert "2 episodes to begin with" in capsys.readouterr().out
    # what differs is the setting, not the words
    words = [(tmp_path / run / "checkpoint/emu3.tiktoken").read_bytes() for run in ("base", "few")]
    assert words[0] == words[1]
    assert ablate.main([*given, "base", "few: --episodes 2 --visual-weight 1"]) == 0
    assert len(ran) == 2
    assert ablate.main([*given, "base: --history 0"]) == 2
    assert "begun with other options" in capsys.readouterr().out
    assert ablate.main([*given, ": --history 0"]) == 2
    assert ablate.main([*given, "a b", "a-b"]) == 2
    assert "one name" in capsys.readouterr().out


def test_codes_of_two_tokenizers_never_meet(
    episodes: Path, vision_run: Path, language_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    vision = load_vision_tokenizer(vision_run / "checkpoint")
    vision.quantize.embedding.weight.data.neg_()
    save_vision_tokenizer(vision, other, dtype=torch.bfloat16)
    given = ["train", "lm", "--data", str(episodes), "--out", str(language_run), "--steps", "100"]
    assert main([*given, "--tokenizer", str(other), *_LANGUAGE]) == 2
    assert "begun with another vision tokenizer" in capsys.readouterr().out
