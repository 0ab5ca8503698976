"""Bytes of v1 messages, checked in: an old peer must read what a new one writes, and back.

golden_wire.json grows with the wire; a line in it never changes. To add a message, add it to
`MESSAGES`, run this test, and put the hex that it prints into the file.
"""

import json
from pathlib import Path

import pytest
from google.protobuf import duration_pb2

from emu_planner.plan import (
    FinishReason,
    Generation,
    KeyframeProgress,
    Outcome,
    PlanComplete,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Task,
    TextDelta,
    Timing,
    Waiting,
)
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb

GOLDEN = json.loads((Path(__file__).parent / "golden_wire.json").read_text())
PROTO = Path(planner_pb2_grpc.__file__).with_name("planner.proto")

TASK = Task(
    "put the red block in the bowl",
    Generation(4, True, 2**63, 0.7, 50, 0.9, 3.0, 10.0, 2.5),
)
PAST = StepOutcome(Step(0, "lift the red block", None, 0.5), Outcome.SKIPPED, "by hand")
IMAGE = pb.Frame(camera="front", encoding=pb.IMAGE_ENCODING_PNG, data=b"\x01\x02", width=3, height=4)
IMAGE.capture_time.FromNanoseconds(1_500_000_007)
OBSERVATION = pb.Observation(seq=300, frames=[IMAGE], task_state="idle")
OBSERVATION.capture_time.FromNanoseconds(1_500_000_007)
SHOWN = pb.Keyframe(status=pb.KEYFRAME_STATUS_OK, image=IMAGE, sha256=b"\x05" * 4, views=["front", "side"])
WINDOW = duration_pb2.Duration(seconds=15)

MESSAGES = {
    "open": pb.PlanRequest(open=codec.task_to_open(TASK, [PAST], (), "a-session")),
    "open_again": pb.PlanRequest(
        open=pb.OpenSession(
            session_id="a-session",
            client_wire_minor=2,
            client_capabilities=["resume"],
            resume=pb.ResumePoint(last_response_seq=300),
        )
    ),
    "received": pb.PlanRequest(received=pb.Received(seq=300)),
    "close": pb.PlanRequest(close=pb.CloseSession()),
    "opened_again": pb.PlanResponse(
        opened=pb.SessionOpened(session_id="a-session", resumed=True, resume_window=WINDOW, epoch=2)
    ),
    "numbered": pb.PlanResponse(seq=300, text_delta=pb.TextDelta(epoch=1, index=1, text=" block")),
    "observation": pb.PlanRequest(observation=OBSERVATION),
    "replan": pb.PlanRequest(
        replan=pb.Replan(
            base_epoch=1,
            reason=pb.REPLAN_REASON_PROGRESS,
            history=codec.history_to_proto([PAST]),
        )
    ),
    "interrupt": pb.PlanRequest(interrupt=pb.Interrupt(epoch=2)),
    "credit": pb.PlanResponse(credit=pb.ObservationCredit(credits=1, consumed_seq=300, superseded=2)),
    "progress": codec.event_to_proto(Waiting(2, "busy"), 1),
    "plan_started": codec.event_to_proto(PlanStarted(300, 2**63, 1.500000007), 1),
    "text_delta": codec.event_to_proto(TextDelta(1, " block"), 1),
    "keyframe_progress": codec.event_to_proto(KeyframeProgress(1, 12, 288), 1),
    "subgoal_without_keyframe": codec.event_to_proto(
        StepComplete(Step(1, "open the drawer", None, 0.25), Timing(0.5, generated_tokens=9)), 1
    ),
    "subgoal_with_keyframe": pb.PlanResponse(
        subgoal=pb.SubgoalComplete(epoch=1, index=2, instruction="close it", keyframe=SHOWN)
    ),
    "plan_complete": codec.event_to_proto(PlanComplete(FinishReason.LENGTH), 1),
    "fault": pb.PlanResponse(
        fault=pb.PlanFault(epoch=1, code=pb.FAULT_CODE_SUBGOAL_TIMEOUT, message="late", retryable=True)
    ),
}


def test_every_message_has_its_golden_bytes():
    assert sorted(GOLDEN) == sorted(MESSAGES)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_bytes_are_as_they_were(name):
    assert MESSAGES[name].SerializeToString(deterministic=True).hex() == GOLDEN.get(name)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_old_bytes_are_read_as_they_were_meant(name):
    message = MESSAGES[name]
    assert type(message).FromString(bytes.fromhex(GOLDEN[name])) == message


def test_the_committed_code_is_of_the_committed_proto():
    """Every field and enum value of planner.proto stands in the generated code, under its number."""
    declared = set()
    for line in PROTO.read_text().splitlines():
        code = line.split("//")[0]
        declared |= {
            (words[-1], int(number.split()[0].rstrip("}")))
            for part in code.replace("{", ";").split(";")
            if part.count("=") == 1 and '"' not in part
            for words, number in [(part.split("=")[0].split(), part.split("=")[1])]
        }
    generated = set()
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        generated |= {(field.name, field.number) for field in message.fields}
    for enum in pb.DESCRIPTOR.enum_types_by_name.values():
        generated |= {(value.name, value.number) for value in enum.values}
    assert declared == generated
