"""Pictures to codes in processes of their own, so that no training step waits for a picture.

In the training's own process, threads that decode and code pictures take the interpreter from the one
that starts kernels, and coding takes its GPU: a run on an H100 learned 82,000 tokens a second so, and
570,000 with three coders on another card. Knows the vision tokenizer and
the folder of episodes or lessons; no language model.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from emu_planner.model.checkpoint import load_vision_tokenizer
from emu_planner.training.episodes import encode_frames
from emu_planner.training.stream import code_shard, codes_path, keep_codes
from sim.lessons.data import open_reader

_POLL_S = 0.5


class CodersError(RuntimeError):
    """Pictures will not be coded; the message says why and what to do."""


class Coders:
    """Codes the shards of a folder as they are written, until the block ends.

    Args:
        data: folder of episodes.
        tokenizer: checkpoint of the vision tokenizer.
        codes: where the codes go: EpisodePool's folder.
        devices: one process each; a device may be named several times.
    """

    def __init__(self, data: Path, tokenizer: Path, codes: Path, devices: Sequence[str]) -> None:
        codes.mkdir(parents=True, exist_ok=True)
        spawn = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = [
            spawn.Process(target=code, args=(data, tokenizer, codes, device, part, len(devices)), daemon=True)
            for part, device in enumerate(devices)
        ]

    def __enter__(self) -> "Coders":
        for process in self._processes:
            process.start()
        return self

    def check(self) -> None:
        """Raise if one has ended before its work was done."""
        for process in self._processes:
            if process.exitcode:
                raise CodersError(
                    f"a process that codes pictures ended with {process.exitcode} (see above for why); "
                    "fewer or other devices in --coders may help, and the run goes on where it was"
                )

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


def code(data: Path, tokenizer: Path, codes: Path, device: str, part: int, parts: int) -> None:
    """Code shard `part`, `part + parts` and so on, until the writer is done or who asked is gone."""
    parent = os.getppid()
    reader = open_reader(data)
    encode = partial(encode_frames, load_vision_tokenizer(tokenizer, device=device).eval())
    while os.getppid() == parent:
        finished = reader.finished
        own = [name for name in reader.shards() if int(name.rpartition("-")[2]) % parts == part]
        fresh = [name for name in own if not codes_path(codes, name).exists()]
        for name in fresh:
            if records := reader.records(name):
                code_shard(reader, records, encode, codes)
            else:
                keep_codes(codes_path(codes, name), np.zeros((0, 0, 0), np.uint16))
        if finished:
            return
        time.sleep(0.0 if fresh else _POLL_S)
