"""From recorded episodes to training samples: any suffix of an episode is a plan of its own.

A plan is asked for from the picture at its start; one that starts after the last step teaches to say
that nothing is left to do. Where a planner errs is in seeing, and a picture costs many tokens, so two
short kinds of samples go with the plans: openings, which end where the first keyframe would begin, and
captions, which say what stands where. A share of plans is asked without words, for guidance.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.prompt import (
    AnswerStep,
    Kind,
    describe_prompt,
    mark_answer,
    unconditional_prompt,
    vla_answer,
    vla_prompt,
)
from emu_planner.model.text import TextTokenizer
from emu_planner.model.vocabulary import Vocabulary
from emu_planner.training.frames import to_model
from emu_planner.training.packing import Sample
from emu_planner.training.stream import CodedEpisode


@dataclass(frozen=True)
class SampleConfig:
    """How samples are drawn from episodes."""

    # share of plans and openings that start after the last step
    finished_share: float = 0.1
    # share of plans asked without the instruction
    unconditional_share: float = 0.1
    # share of plans and openings from the middle of an episode whose prompt tells what has been done
    history_share: float = 0.0
    # shares of samples that are openings and captions; the rest are plans
    opening_share: float = 0.0
    caption_share: float = 0.0
    # how much predicting a visual token counts where a word counts 1 (Emu3.5 section 3.1: 0.5)
    visual_weight: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        shares = ("finished", "unconditional", "history", "opening", "caption")
        for name in (f"{share}_share" for share in shares):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to 1")
        if self.opening_share + self.caption_share > 1:
            raise ValueError(
                f"openings ({self.opening_share}) and captions ({self.caption_share}) are shares of one whole"
            )
        if self.visual_weight < 0:
            raise ValueError(f"visual_weight is {self.visual_weight}; expected 0 or more")


@torch.inference_mode()
def encode_frames(tokenizer: VisionTokenizer, frames: Tensor, *, batch: int = 128) -> NDArray[np.uint16]:
    """Codes [N, h, w] of pictures [N, H, W, 3] uint8, made on the tokenizer's device."""
    device = next(tokenizer.parameters()).device
    parts = []
    for part in frames.split(batch):
        images = to_model(part.to(device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            latent = tokenizer.latent(images)
        parts.append(tokenizer.quantize.nearest(latent.float()).cpu().numpy().astype(np.uint16))
    return np.concatenate(parts)


# of an episode one sample is drawn for every so many steps: long ones hold more to learn
_STEPS_A_SAMPLE = 4


def endless_samples(
    episodes: Iterator[CodedEpisode], tokenizer: TextTokenizer, config: SampleConfig
) -> Iterator[Sample]:
    """Samples of each episode that comes, each from a step of it drawn at random."""
    rng = np.random.default_rng(config.seed)
    for episode in episodes:
        steps = len(episode.subgoals)
        for _ in range(-(-max(1, steps) // _STEPS_A_SAMPLE)):
            kind = rng.random()
            if kind < config.caption_share and episode.captions:
                yield make_caption(episode, int(rng.integers(steps + 1)), tokenizer)
                continue
            finished = rng.random() < config.finished_share
            start = steps if finished else int(rng.integers(max(1, steps)))
            opening = kind < config.caption_share + config.opening_share
            told = rng.random() < config.history_share
            yield make_sample(
                episode,
                start,
                tokenizer,
                with_words=opening or rng.random() >= config.unconditional_share,
                with_history=told,
                opening=opening,
                visual_weight=config.visual_weight,
            )


def make_sample(
    episode: CodedEpisode,
    start: int,
    tokenizer: TextTokenizer,
    *,
    with_words: bool = True,
    with_history: bool = False,
    opening: bool = False,
    visual_weight: float = SampleConfig.visual_weight,
) -> Sample:
    """The plan from step `start` of an episode to its end; an opening stops before its first picture.

    with_history: the prompt tells the subgoals before `start`.
    """
    grid = episode.grids[start]
    done = episode.subgoals[:start] if with_history else ()
    prompt = (
        vla_prompt(tokenizer, episode.instruction, [grid], done)
        if with_words
        else unconditional_prompt(tokenizer, [grid])
    )
    steps = [
        AnswerStep(episode.subgoals[index], episode.grids[index + 1])
        for index in range(start, len(episode.subgoals))
    ]
    answer = vla_answer(tokenizer, steps[:1] if opening else steps)
    if opening and steps:
        answer = answer[: answer.index(tokenizer.vocabulary.boi) + 1]
    return weighted(tokenizer.vocabulary, prompt, answer, visual_weight)


def make_caption(episode: CodedEpisode, index: int, tokenizer: TextTokenizer) -> Sample:
    """What picture `index` of an episode shows, as a sample."""
    vocabulary = tokenizer.vocabulary
    answer = [*tokenizer.encode_plain(episode.captions[index]), vocabulary.ess, vocabulary.eos]
    return weighted(vocabulary, describe_prompt(tokenizer, [episode.grids[index]]), answer)


def weighted(
    vocabulary: Vocabulary,
    prompt: list[int],
    answer: list[int],
    visual_weight: float = SampleConfig.visual_weight,
) -> Sample:
    """Prompt and answer as a sample: the prompt counts nothing, a word of the answer 1."""
    sequence = mark_answer(vocabulary, prompt, answer)
    weights = {Kind.PROMPT: 0.0, Kind.TEXT: 1.0, Kind.VISUAL: visual_weight}
    return Sample(sequence.ids, np.array([weights[k] for k in Kind], np.float32)[sequence.kinds])
