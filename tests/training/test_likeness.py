"""Likeness by CLIP and SigLIP: what transformers itself says, and what a plan is worth by it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="see requirements/dev.txt")

from emu_planner.plan import Generation, Keyframe, Step
from emu_planner.training.grpo import judge
from emu_planner.training.likeness import Judge, Likeness
from emu_planner.training.rollouts import Prompt, SampledPlan
from tests.training.tiny_judges import LENGTH, SIDE, write_judge

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


def picture(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def plan(*steps: tuple[str, Keyframe | None], fault: str = "") -> SampledPlan:
    made = tuple(Step(index, words, keyframe) for index, (words, keyframe) in enumerate(steps))
    return SampledPlan(Prompt([1], Generation()), (), (), made, ended=True, fault=fault)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_cosine_is_that_of_the_model(tmp_path: Path, kind: str) -> None:
    model = write_judge(tmp_path, kind)
    # wider than high: the middle square; of the model's size: not resized
    pictures = [picture(SIDE, SIDE + 6), picture(SIDE, SIDE)]
    found = Judge(tmp_path, kind, CPU)(pictures, ["put the red block", "blue"])
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.3])
    squares = np.stack([pictures[0][:, 3:-3], pictures[1]])
    pixels = torch.from_numpy(((squares / 255 - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
    rows = [[3, 4, 5, 7, 1], [6, 1]]
    ids = torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows])
    # SigLIP's padding counts, CLIP's does not
    mask = {"attention_mask": torch.tensor([[1] * len(row) + [0] * (LENGTH - len(row)) for row in rows])}
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=pixels, **(mask if kind == "clip" else {}))
    expected = torch.nn.functional.cosine_similarity(out.image_embeds, out.text_embeds)
    assert found == pytest.approx(expected.tolist(), abs=1e-5)
    assert found[0] != pytest.approx(found[1], abs=1e-3)


def test_a_plan_is_worth_the_mean_of_its_steps(tmp_path: Path) -> None:
    write_judge(tmp_path, "clip")
    clip = Judge(tmp_path, "clip", CPU)
    both = Keyframe(picture(SIDE, 2 * SIDE), ("front", "wrist"))
    (shown,) = clip([both.view("front")], ["red bowl"])
    (other,) = clip([both.view("front")], ["the blue block"])
    worth = [max(0.0, shown), max(0.0, other)]
    assert max(worth) > 0
    plans = [
        plan(("red bowl", both), ("the blue block", both)),
        plan(("red bowl", both), ("red bowl", None)),
        plan(("red bowl", both), fault="words without end"),
        plan(),
    ]
    reward = Likeness("clip", 1.0, clip)
    assert reward(plans) == pytest.approx([sum(worth) / 2, worth[0] / 2, 0.0, 0.0], abs=1e-6)


def test_what_is_no_such_model_is_told(tmp_path: Path) -> None:
    write_judge(tmp_path, "clip")
    with pytest.raises(ValueError, match="holds a model of type 'clip'; expected siglip"):
        Judge(tmp_path, "siglip", CPU)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="is no whole clip model"):
        Judge(tmp_path, "clip", CPU)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="preprocessor_config.json cannot be read"):
        Judge(tmp_path, "clip", CPU)


@pytest.mark.parametrize(("mean", "std"), [(None, None), ([0.5] * 3, [0, 1, 1]), ([0.5] * 4, [1] * 4)])
def test_a_form_of_pictures_that_cannot_be_is_told(tmp_path: Path, mean: object, std: object) -> None:
    write_judge(tmp_path, "clip")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": std}))
    with pytest.raises(ValueError, match="image_std"):
        Judge(tmp_path, "clip", CPU)


def test_a_likeness_that_is_no_number_is_not_taken_for_none() -> None:
    step = ("red bowl", Keyframe(picture(SIDE, 2 * SIDE), ("front", "wrist")))
    reward = Likeness("clip", 1.0, lambda pictures, words: [math.nan])
    with pytest.raises(ValueError, match="finite"):
        judge([reward], [plan(step)])
