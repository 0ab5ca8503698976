"""From recorded episodes to training samples: any suffix of an episode is a plan of its own.

A sample asks for the plan from the picture at its start; a sample that starts after the last step
teaches to say that nothing is left to do. A share is asked without words, for guidance.
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
    mark_answer,
    unconditional_prompt,
    vla_answer,
    vla_prompt,
)
from emu_planner.model.text import TextTokenizer
from emu_planner.training.frames import to_model
from emu_planner.training.packing import Sample
from emu_planner.training.stream import CodedEpisode

# How much predicting a token counts, by kind (Emu3.5 section 3.1: visual 0.5)
KIND_WEIGHTS = {Kind.PROMPT: 0.0, Kind.TEXT: 1.0, Kind.VISUAL: 0.5}


@dataclass(frozen=True)
class SampleConfig:
    """How samples are drawn from episodes."""

    # share of samples that start after the last step
    finished_share: float = 0.1
    # share of samples asked without the instruction
    unconditional_share: float = 0.1
    seed: int = 0


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


def endless_samples(
    episodes: Iterator[CodedEpisode], tokenizer: TextTokenizer, config: SampleConfig
) -> Iterator[Sample]:
    """A sample of each episode that comes: the plan from a step of it, drawn at random, to its end."""
    rng = np.random.default_rng(config.seed)
    for episode in episodes:
        steps = len(episode.subgoals)
        finished = rng.random() < config.finished_share
        start = steps if finished else int(rng.integers(max(1, steps)))
        with_words = rng.random() >= config.unconditional_share
        yield make_sample(episode, start, tokenizer, with_words=with_words)


def make_sample(
    episode: CodedEpisode, start: int, tokenizer: TextTokenizer, *, with_words: bool = True
) -> Sample:
    """The plan from step `start` of an episode to its end, as a sample."""
    grid = episode.grids[start]
    prompt = (
        vla_prompt(tokenizer, episode.instruction, [grid])
        if with_words
        else unconditional_prompt(tokenizer, [grid])
    )
    steps = [
        AnswerStep(episode.subgoals[index], episode.grids[index + 1])
        for index in range(start, len(episode.subgoals))
    ]
    sequence = mark_answer(tokenizer.vocabulary, prompt, vla_answer(tokenizer, steps))
    weights = np.array([KIND_WEIGHTS[kind] for kind in Kind], dtype=np.float32)[sequence.kinds]
    return Sample(sequence.ids, weights)
