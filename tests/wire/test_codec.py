"""Nouns to messages and back: what goes in comes out, what is wrong is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu_planner.plan import (
    Camera,
    ErrorCode,
    FinishReason,
    Generation,
    Keyframe,
    KeyframeProgress,
    Outcome,
    PlanComplete,
    PlanError,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Task,
    TextDelta,
    Timing,
    Waiting,
)
from emu_planner.wire import codec
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.images import Encoding, ImageConfig
from tests.fakes import fake_observation

PNG = ImageConfig(encoding=Encoding.PNG)
LIMIT = 1_000_000

uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
# the wire counts nanoseconds
seconds = st.integers(0, 10**15).map(lambda nanos: nanos / 1e9)
some_seconds = st.none() | st.integers(1, 10**15).map(lambda nanos: nanos / 1e9)
unit = st.floats(0, 1)
timings = st.builds(Timing, *[seconds] * 5, *[uint32] * 3)


@st.composite
def keyframes(draw):
    views = draw(st.lists(st.sampled_from(["front", "side", "wrist"]), min_size=1, unique=True))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)) * len(views), 3)
    rgb = np.random.default_rng(draw(uint32)).integers(0, 256, shape, dtype=np.uint8)
    return Keyframe(rgb, tuple(views))


steps = st.builds(Step, uint32, text, st.none() | keyframes(), st.none() | unit)
events = st.one_of(
    st.builds(Waiting, uint32, text.filter(bool)),
    st.builds(PlanStarted, uint64, uint64, seconds),
    st.builds(TextDelta, uint32, text),
    st.builds(KeyframeProgress, uint32, uint32, uint32),
    st.builds(StepComplete, steps, timings),
    st.builds(PlanComplete, st.sampled_from(FinishReason), timings),
)
generations = st.builds(
    Generation,
    max_subgoals=uint32,
    keyframes=st.booleans(),
    seed=st.none() | uint64,
    temperature=st.none() | st.floats(0, 100),
    top_k=st.none() | st.integers(1, 2**32 - 1),
    top_p=st.none() | st.floats(1e-9, 1),
    guidance_scale=st.none() | st.floats(1, 100),
    first_subgoal_timeout_s=some_seconds,
    subgoal_timeout_s=some_seconds,
)


def over_the_wire(message):
    return type(message).FromString(message.SerializeToString())


@settings(max_examples=200, deadline=None)
@given(events)
def test_events_survive(event):
    message = over_the_wire(codec.event_to_proto(event, epoch=3))
    assert codec.event_from_proto(message, LIMIT) == event


@settings(max_examples=100, deadline=None)
@given(generations)
def test_settings_survive(generation):
    message = over_the_wire(codec.generation_to_proto(generation))
    assert codec.generation_from_proto(message) == generation


@settings(max_examples=50, deadline=None)
@given(st.lists(st.builds(StepOutcome, steps, st.sampled_from(Outcome), text), max_size=4))
def test_history_survives(history):
    opening = over_the_wire(codec.task_to_open(Task("x"), history, (), "id"))
    assert codec.history_from_proto(opening.history, LIMIT) == tuple(history)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 4e9))
def test_a_stamp_survives_to_the_nanosecond(stamp_s):
    message = over_the_wire(codec.event_to_proto(PlanStarted(1, 1, stamp_s), 1))
    back = codec.event_from_proto(message, LIMIT).observation_stamp_s
    assert back == pytest.approx(stamp_s, abs=6e-10, rel=0)
    if stamp_s > 1e8:  # where doubles are coarser than nanoseconds, as on any clock of this century
        assert back == stamp_s


def test_observation_survives_as_png_with_a_stamp_for_each_camera():
    first, second = fake_observation(1, seq=4), fake_observation(2, seq=9)
    mixed = type(first)((first.frames[0], second.frames[1]), 9)
    message = over_the_wire(codec.observation_to_proto(mixed, PNG))
    assert codec.observation_from_proto(message, LIMIT) == mixed


def test_a_frame_without_its_own_time_takes_the_observations():
    message = codec.observation_to_proto(fake_observation(seq=15), PNG)
    for frame in message.frames:
        frame.ClearField("capture_time")
    assert codec.observation_from_proto(message, LIMIT).stamp_s == 1.5


def test_task_and_cameras_survive():
    task = Task("tidy up", Generation(seed=1))
    cameras = (Camera("front", 64, 48, "front_optical", tuple(range(9))), Camera("side", 8, 8))
    opening = over_the_wire(codec.task_to_open(task, (), cameras, "id"))
    assert codec.task_from_open(opening) == (task, cameras)


def broken(change):
    message = codec.observation_to_proto(fake_observation(), PNG)
    change(message)
    return message


def no_frames(message):
    del message.frames[:]


def tokens(message):
    message.frames[0].encoding = pb.IMAGE_ENCODING_VISION_TOKENS


def unset(message):
    message.frames[0].encoding = 0


def future(message):
    message.frames[0].encoding = 77


def empty(message):
    message.frames[1].data = b""


def cut(message):
    message.frames[0].data = message.frames[0].data[:-9]


def larger(message):
    message.frames[0].width = 33


def twice(message):
    message.frames[1].camera = "front"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_frames, "no frame"),
        (tokens, "encoding 4"),
        (unset, "encoding 0"),
        (future, "encoding 77"),
        (empty, "'side': the image is empty"),
        (cut, "'front': .* truncated"),
        (larger, "declared 33x24"),
        (twice, "twice"),
    ],
)
def test_wrong_observations_are_named(change, words):
    with pytest.raises(PlanError, match=words) as raised:
        codec.observation_from_proto(broken(change), LIMIT)
    assert raised.value.code is ErrorCode.INVALID_REQUEST


def test_undeclared_cameras_and_large_frames_are_refused():
    message = codec.observation_to_proto(fake_observation(), PNG)
    with pytest.raises(PlanError, match="'side' was not declared"):
        codec.observation_from_proto(message, LIMIT, cameras=("front",))
    with pytest.raises(PlanError, match="more than 500"):
        codec.observation_from_proto(message, 500)


def test_what_cannot_be_sent_is_named():
    with pytest.raises(PlanError, match="no frame"):
        codec.observation_to_proto(fake_observation(cameras=()), PNG)
    with pytest.raises(PlanError, match="wire cannot carry"):
        codec.observation_to_proto(fake_observation(seq=2**64), PNG)
    with pytest.raises(PlanError, match="wire cannot carry"):
        codec.generation_to_proto(Generation(max_subgoals=2**32))


def test_keyframe_says_why_it_is_missing_and_is_checked():
    assert codec.keyframe_to_proto(None, requested=True).status == pb.KEYFRAME_STATUS_MALFORMED
    assert codec.keyframe_to_proto(None, requested=False).status == pb.KEYFRAME_STATUS_NOT_REQUESTED
    message = codec.keyframe_to_proto(Keyframe(np.zeros((4, 8, 3), np.uint8), ("a", "b")), requested=True)
    message.sha256 = bytes(32)
    with pytest.raises(PlanError, match="sha256"):
        codec.keyframe_from_proto(message, LIMIT)
    message.sha256 = b""
    message.views.append("c")
    with pytest.raises(PlanError, match="views"):
        codec.keyframe_from_proto(message, LIMIT)


def test_superseded_reads_as_interrupted():
    end = PlanComplete(FinishReason.INTERRUPTED)
    message = codec.event_to_proto(end, 1, superseded=True)
    assert message.plan_complete.reason == pb.FINISH_REASON_SUPERSEDED
    assert codec.event_from_proto(message, LIMIT) == end


@pytest.mark.parametrize("code", sorted(codec.FAULT_NUMBERS, key=lambda code: code.value))
def test_faults_come_back_as_the_error_they_were(code):
    message = over_the_wire(codec.error_to_fault(PlanError(code, "words", retryable=True), 1))
    with pytest.raises(PlanError, match="words") as raised:
        codec.event_from_proto(message, LIMIT)
    assert (raised.value.code, raised.value.retryable) == (code, True)


def test_a_newer_peers_messages_are_ignored_or_named():
    assert codec.event_from_proto(pb.PlanResponse(), LIMIT) is None
    assert codec.fault_to_error(pb.PlanFault(code=99)).code is ErrorCode.UNKNOWN
    with pytest.raises(PlanError, match="finish reason 99"):
        codec.event_from_proto(pb.PlanResponse(plan_complete=pb.PlanComplete(reason=99)), LIMIT)
    with pytest.raises(PlanError, match="outcome 99"):
        codec.outcome_from_proto(99)
