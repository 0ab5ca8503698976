"""FakePlanner: the one stand-in of the tests, at the Planner seam. No model, no network.

Its words and pictures are functions of instruction, seed, history and every pixel it was shown,
so two equal Reports mean that all of these arrived unchanged (send frames as PNG in such a test:
JPEG changes pixels, and this planner notices).
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    Frame,
    FrameSource,
    Keyframe,
    KeyframeProgress,
    Observation,
    PlanComplete,
    PlanError,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
    TextDelta,
    Timing,
)

VERBS = ("push", "lift", "turn", "place", "slide")
COLOURS = ("red", "green", "blue", "yellow")
THINGS = ("block", "bowl", "cup", "drawer", "ring")
VIEW_PX = 16  # width and height of one imagined view


@dataclass(frozen=True)
class FakePlanner:
    """A deterministic Planner of a few steps."""

    # steps of one plan, history not counted
    steps: int = 3
    # sleep before each word and each keyframe token, seconds
    token_delay_s: float = 0.0
    # tokens reported per keyframe
    keyframe_tokens: int = 4
    # longest wait for a first observation, seconds
    frame_timeout_s: float = 1.0
    # raise `error` instead of the step at this place of the plan (0: the first); None: never
    fail_at: int | None = None
    error: PlanError = field(
        default_factory=lambda: PlanError(ErrorCode.INVALID_OUTPUT, "the fake was told to fail")
    )

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """Plan as plan.Planner says; stops between any two tokens."""
        stop = stop or Stop()
        observation = frames.newest(self.frame_timeout_s)
        seed = task.generation.seed or 0
        yield PlanStarted(observation.seq, seed, observation.stamp_s)
        first = max((past.step.index for past in history), default=-1) + 1
        limit = task.generation.max_subgoals or self.steps
        tokens_in_all = 0
        for place in range(min(self.steps, limit)):
            if place == self.fail_at:
                raise self.error
            digest = digest_of(task.instruction, seed, observation, history, first + place)
            subgoal, tokens = subgoal_of(digest), 0
            for index, word in enumerate(subgoal.split(" ")):
                time.sleep(self.token_delay_s)
                if stop.requested:
                    yield PlanComplete(FinishReason.INTERRUPTED)
                    return
                tokens += 1
                yield TextDelta(first + place, word if index == 0 else f" {word}")
            keyframe = None
            if task.generation.keyframes:
                for done in range(1, self.keyframe_tokens + 1):
                    time.sleep(self.token_delay_s)
                    if stop.requested:
                        yield PlanComplete(FinishReason.INTERRUPTED)
                        return
                    tokens += 1
                    yield KeyframeProgress(first + place, done, self.keyframe_tokens)
                keyframe = keyframe_of(digest, tuple(frame.camera for frame in observation.frames))
            tokens_in_all += tokens
            yield StepComplete(
                Step(first + place, subgoal, keyframe, confidence=digest[0] / 255),
                Timing(generated_tokens=tokens),
            )
        reason = FinishReason.LENGTH if limit < self.steps else FinishReason.STOP
        yield PlanComplete(reason, Timing(generated_tokens=tokens_in_all))


def digest_of(
    instruction: str,
    seed: int,
    observation: Observation,
    history: Sequence[StepOutcome],
    index: int,
) -> bytes:
    """32 bytes that change when anything the planner was given changes."""
    digest = hashlib.sha256(f"{instruction}|{seed}|{index}".encode())
    for frame in observation.frames:
        digest.update(f"{frame.camera}|{round(frame.stamp_s * 1e9)}|{frame.rgb.shape}".encode())
        digest.update(frame.rgb.tobytes())
    for past in history:
        step = past.step
        digest.update(f"{step.index}|{step.subgoal}|{past.outcome.value}|{past.detail}".encode())
        if step.keyframe is not None:
            digest.update(f"{step.keyframe.views}".encode() + step.keyframe.rgb.tobytes())
    return digest.digest()


def subgoal_of(digest: bytes) -> str:
    """A sentence whose last word tells any two digests apart."""
    verb, colour, thing = (
        words[byte % len(words)] for words, byte in zip((VERBS, COLOURS, THINGS), digest[1:4], strict=True)
    )
    return f"{verb} the {colour} {thing} {digest[4:8].hex()}"


def keyframe_of(digest: bytes, views: tuple[str, ...]) -> Keyframe:
    """Noise that is a function of the digest, [VIEW_PX, VIEW_PX * views, 3]."""
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    shape = (VIEW_PX, VIEW_PX * len(views), 3)
    return Keyframe(rng.integers(0, 256, shape, dtype=np.uint8), views)


def fake_observation(
    noise: int = 0, cameras: tuple[str, ...] = ("front", "side"), seq: int = 1
) -> Observation:
    """Pictures of noise, [24, 32, 3] each, captured at seq / 10 s; other noise, other pictures."""
    rng = np.random.default_rng(noise)
    frames = [
        Frame(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), camera, seq / 10) for camera in cameras
    ]
    return Observation(tuple(frames), seq)
