"""GRPO from the command line with the simulator's rewards, a few real steps with a tiny checkpoint."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emu_planner.cli.main import main
from emu_planner.cli.train_grpo import CHECK_SEED, School, SimulatorReward, parse_weights, seeds_of
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.planner import EmuPlanner
from emu_planner.model.checkpoint import load_transformer, load_vision_tokenizer
from emu_planner.plan.step import Outcome, Step, StepOutcome
from emu_planner.training.episodes import encode_frames
from emu_planner.training.rollouts import Form, SampledPlan
from sim.camera import VIEWS
from sim.rewards import PLAN_REWARDS, Curriculum
from sim.teachers import Teachers
from tests.training.tiny_judges import write_judge
from tools.make_tiny_checkpoint import make

pytestmark = pytest.mark.slow

_SMALL = ("--device", "cpu", "--workers", "0", "--prompts", "2", "--group", "3", "--check-subgoals", "1")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make(folder, tasks=("vla",), context=512)
    PlannerConfig(views=VIEWS, picture_width=384, picture_height=192, max_subgoal_tokens=8).save(folder)
    return folder


def grpo(checkpoint: Path, out: Path, *words: str) -> int:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return main(["train", "grpo", "--checkpoint", str(checkpoint), "--out", str(out), *_SMALL, *words])
    finally:
        torch.set_num_threads(threads)


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_first_subgoals_to_a_checkpoint_that_plans_and_goes_on(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grpo(tiny, tmp_path, "--steps", "2", "--temperature", "2", "--rate", "1e-3") == 0
    learned = [row for row in rows(tmp_path) if "words" in row]
    assert [row["step"] for row in learned] == [1, 2]
    for row in learned:
        for name in ("words", "success"):
            assert 0 <= row[name] <= 1
            assert {f"{name}_share", f"{name}_differs"} <= row.keys()
    checked = [row for row in rows(tmp_path) if "check_first_subgoal_success" in row]
    assert [row["step"] for row in checked] == [0, 2]
    planner = EmuPlanner.load(tmp_path / "checkpoint", device="cpu", threads=1)
    assert planner.config.max_subgoal_tokens == 8
    assert grpo(tiny, tmp_path, "--steps", "3") == 0
    assert "going on from step 2" in capsys.readouterr().out
    assert rows(tmp_path)[-1]["step"] == 3


def test_whole_plans_with_rewards_that_tell_them_apart(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reachable(reward: SimulatorReward, plans: Sequence[SampledPlan]) -> list[float]:
        verdicts = reward._school.verdicts(plans)
        return [v[reward.name] + len(plan.tokens) for v, plan in zip(verdicts, plans, strict=True)]

    # the tiny model says nothing that a robot could do: let its rewards be what it can reach
    monkeypatch.setattr(SimulatorReward, "__call__", reachable)
    write_judge(tmp_path / "clip", "clip")
    words = ("--steps", "1", "--rollout", "plan", "--weights", "picture=0.5,words=0,clip=2", "--rate", "1e-3")
    words += ("--clip-model", str(tmp_path / "clip"))
    assert grpo(tiny, tmp_path, *words, "--temperature", "2", "--check-plans", "1", "--most-rows", "3") == 0
    first, learned, _ = rows(tmp_path)
    assert {f"check_plan_{name}" for name in (*PLAN_REWARDS, "clip")} <= first.keys()
    assert 0 <= learned["clip"] <= 1
    assert "clip_share" in learned
    assert learned["words_share"] == 0
    assert 0 < learned["picture_share"] < learned["success_share"]
    before, after = load_transformer(tiny), load_transformer(tmp_path / "checkpoint")
    assert not torch.equal(before.lm_head.weight.bfloat16(), after.lm_head.weight)


def test_a_run_keeps_its_model(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reference.txt").write_text("another\n")
    assert grpo(tiny, tmp_path, "--steps", "1") == 2
    assert "begun with another --checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--weights", "beauty=1"), "beauty"),
        (("--weights", "clip=1"), "'clip'"),
        (("--clip-model", "anywhere"), "take --rollout plan"),
        (("--siglip-model", "nowhere", "--rollout", "plan"), "nowhere/config.json cannot be read"),
        (("--weights", "words=much"), "expected a number"),
        (("--weights", "words=0,success=0"), "one above 0"),
        (("--families", "unheard"), "unheard"),
        (("--families", "push", "--robot", "mobile"), "impossible or held out"),
        (("--group", "1"), "expected 2 or more"),
        (("--first-seed", str(CHECK_SEED)), "not for learning"),
        (("--workers", "-1"), "workers is -1"),
    ],
)
def test_wrong_words_are_told(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert grpo(tiny, tmp_path, "--steps", "1", "--check-subgoals", "0", *words) == 2
    assert told in capsys.readouterr().out


def test_a_model_of_other_cameras_is_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    make(other, tasks=("vla",), context=512)
    assert grpo(other, tmp_path / "out", "--steps", "1") == 2
    assert "['camera']" in capsys.readouterr().out


@pytest.mark.parametrize("history", [0, 2])
def test_a_prompt_is_what_a_closed_loop_asks(tiny: Path, tmp_path: Path, history: int) -> None:
    make(tmp_path, tasks=("vla",), context=1024)
    replace(PlannerConfig.from_folder(tiny), history=history).save(tmp_path)
    planner = EmuPlanner.load(tmp_path, device="cpu", threads=1)
    vision = load_vision_tokenizer(tmp_path).eval()
    form = Form(planner.tokenizer, (1, 1), lambda _: pytest.fail("a word has no picture"), 8, 1024)
    with Teachers(Curriculum(("stack",)), workers=0) as teachers:
        situations = next(teachers.situations(iter([range(100, 102)]), whole=False))
        school = School(teachers, form, vision, planner.config)
        prompts = next(school.lots(iter(range(100, 102)), 2, whole=False))
    assert [len(situation.done) for situation in situations] == [0, 3]
    grids = encode_frames(vision, torch.from_numpy(np.stack([one.picture for one in situations])))
    for prompt, situation, grid in zip(prompts, situations, grids, strict=True):
        past = [
            StepOutcome(Step(index, words), Outcome.SUCCEEDED) for index, words in enumerate(situation.done)
        ]
        assert prompt.ids == planner._prompt(situation.instruction, grid, past)


def test_situations_come_again_or_never() -> None:
    def first(count: int, different: int, begin: int) -> list[int]:
        seeds = seeds_of(100, different, begin=begin)
        return [next(seeds) for _ in range(count)]

    assert first(4, 3, 2) == [102, 100, 101, 102]
    assert first(3, 0, 5) == [105, 106, 107]


def test_weights_that_are_not_named_are_1() -> None:
    assert parse_weights("success=2.5", ("words", "success")) == {"words": 1.0, "success": 2.5}
