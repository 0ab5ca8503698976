"""A recorded goal, planned again: each of its calls with the pictures, words and outcomes of then.

Each call gets the history that was recorded, not what the replay made of it, so that one step that
differs does not make all later ones differ. Knows no bag.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emu_planner.bags.calls import Call
from emu_planner.plan import (
    FinishReason,
    Frame,
    Observation,
    PlanComplete,
    Planner,
    Step,
    StepComplete,
    Still,
    Stop,
)
from emu_planner.wire.images import ImageConfig, decode_image, encode_image


@dataclass(frozen=True)
class Difference:
    """Something that came out otherwise than it was recorded."""

    # number of the call, from 0, and index of the step in the plan
    call: int
    step: int
    # "words", "keyframe", "steps" or "end"
    what: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"step {self.step}, {self.what}: recorded {self.recorded}, now {self.replayed}"


def replay(
    planner: Planner, calls: Sequence[Call], frames: Mapping[tuple[str, float], Frame]
) -> Iterator[list[Difference]]:
    """Make the calls again; yields what differs, call by call.

    Args:
        planner: any.
        calls: of one goal.
        frames: every picture that the calls name.

    Raises:
        PlanError: the planner cannot plan.
    """
    for number, call in enumerate(calls):
        observation = Observation(tuple(frames[picture] for picture in call.pictures), number + 1)
        steps, finish = _plan(planner, call, observation)
        yield list(_compare(number, call, steps, finish))


def as_sent(frame: Frame, images: ImageConfig) -> Frame:
    """The picture as a service gets it: JPEG changes pixels, and a planner notices."""
    height, width, _ = frame.rgb.shape
    data = encode_image(frame.rgb, images.encoding, images.jpeg_quality)
    rgb = decode_image(data, images.encoding, width, height, images.max_pixels)
    return replace(frame, rgb=rgb)


def _plan(planner: Planner, call: Call, observation: Observation) -> tuple[list[Step], FinishReason | None]:
    """The call's steps, no more than are compared."""
    stop, steps = Stop(), []
    for event in planner.plan(call.task, Still(observation), call.history, stop=stop):
        if isinstance(event, StepComplete):
            steps.append(event.step)
            if call.finish is None and len(steps) >= len(call.steps):
                stop.request()
        elif isinstance(event, PlanComplete):
            return steps[: len(call.steps)] if call.finish is None else steps, event.reason
    raise AssertionError("a planner's stream ended without PlanComplete")


def _compare(number: int, call: Call, steps: list[Step], finish: FinishReason | None) -> Iterator[Difference]:
    for recorded, replayed in zip(call.steps, steps, strict=False):
        if recorded.subgoal != replayed.subgoal or recorded.index != replayed.index:
            yield Difference(number, recorded.index, "words", repr(recorded.subgoal), repr(replayed.subgoal))
        if recorded.keyframe is not None and recorded.keyframe != replayed.keyframe:
            yield Difference(number, recorded.index, "keyframe", *_keyframe_words(recorded, replayed))
    if len(steps) != len(call.steps):
        first = call.steps[0].index if call.steps else len(call.history)
        index = first + min(len(steps), len(call.steps))
        yield Difference(number, index, "steps", f"{len(call.steps)} steps", f"{len(steps)} steps")
    elif call.finish is not None and finish is not call.finish:
        index = call.steps[-1].index if call.steps else len(call.history)
        yield Difference(number, index, "end", call.finish.value, finish.value if finish else "none")


def _keyframe_words(recorded: Step, replayed: Step) -> tuple[str, str]:
    assert recorded.keyframe is not None
    before, now = recorded.keyframe, replayed.keyframe
    told = f"{before.rgb.shape[1]}x{before.rgb.shape[0]} of {', '.join(before.views)}"
    if now is None:
        return told, "none"
    if now.views != before.views or now.rgb.shape != before.rgb.shape:
        return told, f"{now.rgb.shape[1]}x{now.rgb.shape[0]} of {', '.join(now.views)}"
    apart = np.abs(now.rgb.astype(np.int16) - before.rgb)
    share = float((apart.max(axis=2) > 0).mean())
    return told, f"another in {share:.1%} of the pixels, by {apart.mean():.2f} grey levels on average"
