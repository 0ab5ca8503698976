"""Adapt a trained language model to DiDA: each picture of an answer gets a noisy copy to see through.

Emu3.5 section 4.3: noisy tokens see the clean ones before their picture and each other in both
directions; clean ones see clean ones as before, and are learned as before, so that the raster decoder
keeps working. A copy stands where its picture stands; it has the same forced tokens, and begins with
the IMG token, since as everywhere a code is told by the token before it. Its codes are drawn from the
metric path (model/metric_path.py) at a time of its own, even over the path.

What the paper leaves open is decided as in the published URSA: path, times, the shift by one. Knows no
model, no decoder and no file.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from emu_planner.model.metric_path import MetricPath
from emu_planner.model.vocabulary import Vocabulary
from emu_planner.training.packing import Layout, Sample

# At time 1 beta has no bound.
_LATEST = 0.999


def with_copies(
    samples: Iterable[Sample], vocabulary: Vocabulary, *, context: int, seed: int = 0
) -> Iterator[Sample]:
    """Each sample with copies of its answer's pictures behind it, as many as `context` has room for.

    The copies' codes are still clean: `CopyNoise` makes them noisy, anew each time.
    """
    rng = np.random.default_rng(seed)
    for sample in samples:
        spans = answer_pictures(sample, vocabulary)
        room, chosen = context - len(sample.ids), []
        for begin, end in (spans[index] for index in rng.permutation(len(spans))):
            if end - begin <= room:
                chosen.append((begin, end))
                room -= end - begin
        yield add_copies(sample, chosen, first_visual=vocabulary.first_visual)


def answer_pictures(sample: Sample, vocabulary: Vocabulary) -> list[tuple[int, int]]:
    """From IMG to before EOI of every whole picture whose codes are learned."""
    begins = np.flatnonzero(sample.ids == vocabulary.img)
    ends = np.flatnonzero(sample.ids == vocabulary.eoi)
    return [
        (int(begin), int(end))
        for begin, end in zip(begins, ends, strict=False)
        if sample.weights[begin + 1] > 0
    ]


def add_copies(sample: Sample, spans: list[tuple[int, int]], *, first_visual: int) -> Sample:
    """The sample with a copy of the tokens of each span behind it; only codes count in a copy."""
    length = len(sample.ids)
    own = np.arange(length)
    ids, weights, blocks = [sample.ids], [sample.weights], [np.zeros(length, np.int32)]
    positions, horizons = [own], [own + 1]
    for number, (begin, end) in enumerate(spans, start=1):
        copy = sample.ids[begin:end]
        ids.append(copy)
        weights.append(np.where(copy >= first_visual, sample.weights[begin:end], np.float32(0)))
        blocks.append(np.full(end - begin, number, np.int32))
        positions.append(own[begin:end])
        horizons.append(np.full(end - begin, begin))
    layout = Layout(np.concatenate(blocks), np.concatenate(positions), np.concatenate(horizons))
    return Sample(np.concatenate(ids), np.concatenate(weights), layout)


class CopyNoise:
    """A language.Noise: codes of copies become what they may be at a time of the path.

    Args:
        path: on the device that trains.
        first_visual: id of code 0.
    """

    def __init__(self, path: MetricPath, first_visual: int) -> None:
        self._path, self._first = path, first_visual

    def __call__(self, ids: Tensor, documents: Tensor, blocks: Tensor, generator: torch.Generator) -> Tensor:
        """See language.Noise; each copy has one time for all its codes."""
        begins = torch.ones_like(blocks, dtype=torch.bool)
        begins[:, 1:] = (blocks[:, 1:] != blocks[:, :-1]) | (documents[:, 1:] != documents[:, :-1])
        pieces = begins.cumsum(dim=1) - 1
        share = torch.rand(ids.shape, generator=generator, device=ids.device) * _LATEST
        times = self._path.config.time(share).gather(1, pieces)
        noisy = (blocks > 0) & (ids >= self._first)
        read = ids.clone()
        read[noisy] = self._first + self._path.noisy(ids[noisy] - self._first, times[noisy], generator)
        return read
