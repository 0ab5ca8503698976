"""How much a picture looks like what words say, by a CLIP or SigLIP model on disk: rewards for GRPO.

Emu3.5 section 4.2 rewards CLIP similarity. Both models (Radford et al. 2021, Zhai et al. 2023) embed picture
and words; their cosine is the likeness. Needs the package transformers and a folder in its form with
weights, words and preprocessor_config.json; nothing is downloaded. Pictures are resized as published
(model/pixels.py), without Pillow. Knows no simulator and no robot: such a model never saw a table of
Bullet's blocks, so its word counts beside others, not alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emu_planner.model.pixels import resize_bicubic
from emu_planner.training.rollouts import SampledPlan

KINDS = ("clip", "siglip")
# pictures in a pass
_BATCH = 64


class Judge:
    """A frozen model that compares pictures with words.

    Args:
        folder: in transformers' form, as `save_pretrained` or a download writes it.
        kind: one of KINDS, which the folder must hold.
        device: where it runs.

    Raises:
        ValueError: no transformers here, another model there, or files are missing.
    """

    def __init__(self, folder: Path, kind: str, device: torch.device) -> None:
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise ValueError(
                f"--{kind}-model needs the package transformers: pip install transformers"
            ) from None
        found = _read(folder / "config.json").get("model_type")
        if found != kind:
            raise ValueError(f"{folder} holds a model of type {found!r}; expected {kind}")
        self._mean, self._std = _colours(folder / "preprocessor_config.json")
        try:
            self._words: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            model: Any = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
        except OSError as error:
            raise ValueError(f"{folder} is no whole {kind} model: {error}") from error
        self._model, self._device = model.to(device).eval().requires_grad_(False), device
        self._side: int = model.config.vision_config.image_size
        self._length: int = model.config.text_config.max_position_embeddings

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[NDArray[np.uint8]], words: Sequence[str]) -> list[float]:
        """The cosine, in [-1, 1], of each picture [H, W, 3] and its words; the middle square is looked at."""
        found: list[float] = []
        for begin in range(0, len(pictures), _BATCH):
            some = np.stack([self._prepared(picture) for picture in pictures[begin : begin + _BATCH]])
            given = self._words(
                list(words[begin : begin + _BATCH]),
                # SigLIP learned from words that fill its length
                padding="max_length", truncation=True, max_length=self._length, return_tensors="pt",
            )  # fmt: skip
            out = self._model(
                input_ids=given["input_ids"].to(self._device),
                pixel_values=torch.from_numpy(some).to(self._device),
                **self._mask(given),
            )
            found += (out.image_embeds * out.text_embeds).sum(dim=-1).tolist()
        return found

    def _mask(self, given: Any) -> dict[str, Any]:
        """Which words count: all of SigLIP's, its padding included."""
        if self._model.config.model_type == "siglip":
            return {}
        return {"attention_mask": given["attention_mask"].to(self._device)}

    def _prepared(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The middle square as the model takes it, [3, side, side]."""
        height, width = picture.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = resize_bicubic(picture[top : top + side, left : left + side], self._side, self._side)
        scaled = (square.astype(np.float32) / 255 - self._mean) / self._std
        return scaled.transpose(2, 0, 1).astype(np.float32)


class Likeness:
    """A grpo.Reward: how much a plan's keyframes look like its subgoals, mean over its steps.

    Of a keyframe the first view counts. Nothing for what is no plan, and for a step without a keyframe.
    A plan that ends early loses nothing by it: other rewards must say that it does.
    """

    def __init__(self, name: str, weight: float, judge: Judge) -> None:
        self.name, self.weight, self._judge = name, weight, judge

    def __call__(self, plans: Sequence[SampledPlan]) -> Sequence[float]:
        """See Reward; in [0, 1]."""
        shown = [
            (number, step.keyframe.view(step.keyframe.views[0]), step.subgoal)
            for number, plan in enumerate(plans)
            if not plan.fault
            for step in plan.steps
            if step.keyframe is not None
        ]
        likenesses = self._judge([picture for _, picture, _ in shown], [words for *_, words in shown])
        sums = [0.0] * len(plans)
        for (number, *_), value in zip(shown, likenesses, strict=True):
            # what is no number stays one, for grpo.judge to refuse; max(0.0, nan) is 0.0
            sums[number] += float(np.maximum(value, 0.0))
        return [total / max(1, len(plan.steps)) for total, plan in zip(sums, plans, strict=True)]


def _colours(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is taken off pictures, and what they are divided by: a number, or one a colour."""
    prepared = _read(path)
    try:
        mean, std = (np.array(prepared[name], np.float32) for name in ("image_mean", "image_std"))
    except (KeyError, ValueError, TypeError):
        mean = std = np.array(np.nan, np.float32)
    fits = all(held.shape in ((), (3,)) and np.isfinite(held).all() for held in (mean, std))
    if not (fits and (std > 0).all()):
        raise ValueError(f"{path}: image_mean and image_std must be three numbers each, image_std above 0")
    return mean, std


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}; name a folder that transformers wrote") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}; expected an object")
    return found
