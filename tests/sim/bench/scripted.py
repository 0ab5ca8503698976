"""Planners of fixed words for tests, and those that break: importable in the planner's process."""

import gc
import os
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    FrameSource,
    Keyframe,
    PlanComplete,
    PlanError,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
)

GREY = Keyframe(np.full((192, 384, 3), 128, np.uint8), ("front", "side"))


@dataclass(frozen=True)
class Says:
    """A planner of fixed words, with grey keyframes; at the end it stops or fails."""

    words: tuple[str, ...]
    error: PlanError | None = None

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        shown = frames.newest()
        yield PlanStarted(shown.seq, 0, shown.stamp_s)
        left = self.words[len(history) :]
        most = task.generation.max_subgoals or len(left)
        for index, words in enumerate(left[:most], start=len(history)):
            yield StepComplete(Step(index, words, GREY if task.generation.keyframes else None))
        if self.error is not None and most >= len(left):
            raise self.error
        yield PlanComplete(FinishReason.STOP)


class Tokenized(Says):
    """It has a tokenizer: pictures come back a little darker, and random codes are random pixels."""

    def round_trip(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return (picture // 2 * 2).astype(np.uint8)

    def random_picture(self, picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        drawn = np.random.default_rng(seed).integers(0, 256, picture.shape, dtype=np.uint8)
        return self.round_trip(drawn)


class Coarse(Says):
    """Its tokenizer gives every picture back as grey."""

    def round_trip(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.full_like(picture, 128)


def write_half_a_message() -> None:
    """To the scorer: a length of 1000 bytes, as multiprocessing writes it, and one byte."""
    for pipe in [thing for thing in gc.get_objects() if isinstance(thing, Connection) and not thing.closed]:
        os.write(pipe.fileno(), struct.pack("!i", 1000) + b"{")


class Breaks:
    """Does what the instruction names: crash, hang, half, raise, shape, dtype, empty, many, stream, exit."""

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        shown = frames.newest()
        what = task.instruction
        if what != "stream":
            yield PlanStarted(shown.seq, 0, shown.stamp_s)
        if what == "crash":
            os.abort()
        if what == "exit":
            os._exit(3)
        if what == "hang":
            time.sleep(3600)
        if what == "half":
            write_half_a_message()
            time.sleep(3600)
        if what == "raise":
            raise KeyError("nothing by that name")
        picture: Keyframe | None = None
        if what == "shape":
            picture = Keyframe(np.zeros((8, 8, 3), np.uint8), ("front", "side"))
        if what == "dtype":
            picture = Keyframe(np.zeros((192, 384, 3), np.float32), ("front", "side"))  # type: ignore[arg-type]
        if what == "bytes":
            picture = Keyframe(np.zeros((192, 384, 3), np.uint8), ("front", "side"))
            object.__setattr__(picture, "rgb", np.zeros((192, 384, 3), np.float32))
        count = 10_000 if what == "many" else 1
        for index in range(count):
            yield StepComplete(Step(index, "  " if what == "empty" else "pick up the red block", picture))
        if what != "unfinished":
            yield PlanComplete(FinishReason.STOP)


@dataclass(frozen=True)
class OutOfReach:
    """A service that ends after its first scene, until the file says "up"."""

    state: Path

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        known = self.state.read_text()
        if not known:
            self.state.write_text(task.instruction)
        elif known not in (task.instruction, "up"):
            raise PlanError(ErrorCode.SERVER_UNAVAILABLE, "nobody answers", retryable=True)
        yield from Says(("pick up the moon",)).plan(task, frames, history)


def gives_up() -> Says:
    """Two steps, then it says that it cannot go on."""
    error = PlanError(ErrorCode.INVALID_OUTPUT, "no more words")
    return Tokenized(("pick up the red block", "place it"), error)


def cannot_start() -> Says:
    raise ValueError("no such weights")


def says_nothing() -> Says:
    return Says(())


def coarse() -> Says:
    return Coarse(("pick up the moon",))


def tokenized() -> Says:
    return Tokenized(("pick up the moon",))
