"""The service as any client of the wire sees it: raw messages in, statuses with words out."""

import logging
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from emu_planner.plan import (
    ErrorCode,
    Outcome,
    PlanError,
    PlanStarted,
    StepOutcome,
    Still,
    Task,
    collect,
)
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import CODE_KEY, ERROR_ID_KEY, RETRY_AFTER_KEY, SERVICE_NAME
from tests.fakes import FakePlanner, fake_observation
from tests.service.calls import PNG, TASK, Call, opening, status_of

LIMIT = 1_000_000


def config_of(**changes):
    return ServiceConfig(**{"address": "127.0.0.1:0", "drain_timeout_s": 0.0, **changes})


@pytest.fixture(scope="module")
def channel():
    config = config_of(model="fake")
    with running_service(FakePlanner, config) as target, grpc.insecure_channel(target) as one:
        yield one


def steps_of(responses):
    events = [codec.event_from_proto(one, LIMIT) for one in responses]
    return collect("x", [event for event in events if event is not None]).steps


def nan_temperature():
    return opening(generation=pb.GenerationConfig(temperature=float("nan")))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({}, "first message is empty"),
        ({"observation": pb.Observation()}, "first message is observation"),
        ({"interrupt": pb.Interrupt()}, "first message is interrupt"),
        ({"open": opening(instruction=" ")}, "instruction is empty"),
        ({"open": opening(instruction="x" * 2001)}, "2001 characters"),
        ({"open": opening(session_id="")}, "session_id"),
        ({"open": opening(session_id="a\nforged log line")}, "session_id"),
        ({"open": opening(model="another")}, "'another' is not served"),
        ({"open": nan_temperature()}, "temperature is nan"),
        ({"open": opening(generation=pb.GenerationConfig(top_p=2.0))}, "top_p is 2"),
        ({"open": opening(cameras=[pb.CameraSpec(name="front")])}, "'front': size 0x0"),
        ({"open": opening(cameras=[pb.CameraSpec(width=1, height=1, k=[1.0])])}, "k has 1"),
        ({"open": opening(history=[pb.PastSubgoal()])}, "outcome 0"),
        ({"open": opening(history=[pb.PastSubgoal(outcome=2)] * 201)}, "201 steps"),
        (
            {"open": opening(history=[pb.PastSubgoal(outcome=2, keyframe=pb.Keyframe(status=1))])},
            "encoding 0",
        ),
    ],
)
def test_a_wrong_opening_is_invalid_argument_with_words(channel, message, words):
    error = status_of(Call(channel).send(**message).close())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.details()
    assert dict(error.trailing_metadata())[CODE_KEY] == "invalid_request"


def test_a_call_without_any_message_and_a_second_opening(channel):
    assert status_of(Call(channel).close()).code() is grpc.StatusCode.INVALID_ARGUMENT
    error = status_of(Call(channel).send(open=opening()).send(open=opening()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "open already" in error.details()


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pb.Frame(camera="front"), "encoding 0"),
        (pb.Frame(camera="front", encoding=pb.IMAGE_ENCODING_VISION_TOKENS), "encoding 4"),
        (pb.Frame(camera="front", encoding=pb.IMAGE_ENCODING_PNG), "empty"),
        (pb.Frame(camera="front", encoding=pb.IMAGE_ENCODING_JPEG, data=b"x" * 99), "begin like JPEG"),
        (None, "no frame"),
    ],
)
def test_a_wrong_observation_is_invalid_argument_with_words(channel, frame, words):
    call = Call(channel).send(open=opening())
    call.until("credit")
    call.send(observation=pb.Observation(seq=1, frames=[frame] if frame else []))
    error = status_of(call)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.details()


def test_bytes_that_are_no_message(channel):
    method = channel.stream_stream(f"/{SERVICE_NAME}/Plan", None, pb.PlanResponse.FromString)
    with pytest.raises(grpc.RpcError) as raised:
        list(method(iter([b"\xff\xff\xff\xff"]), timeout=30))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no message" in raised.value.details()


@pytest.mark.parametrize(
    "method",
    [
        f"{SERVICE_NAME}/GetServerInfo",
        f"{SERVICE_NAME}/GeneratePlan",
        "grpc.health.v1.Health/Check",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_bytes_that_are_no_request(channel, method):
    call = channel.stream_stream(f"/{method}", None, None)
    with pytest.raises(grpc.RpcError) as raised:
        list(call(iter([b"\xff\xff\xff\xff"]), timeout=30))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "the bytes are no message of this call"
    assert dict(raised.value.trailing_metadata())[CODE_KEY] == "invalid_request"


def test_too_large_a_message_is_resource_exhausted(channel):
    error = status_of(Call(channel).send(open=opening(instruction="x" * 17_000_000)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"replan": pb.Replan(base_epoch=7)}, "epoch 7"),
        ({"outcome": pb.SubgoalOutcome(epoch=1, index=99, outcome=2)}, "no subgoal 99"),
        ({"outcome": pb.SubgoalOutcome(epoch=1, index=0)}, "outcome 0"),
        ({"review": pb.SubgoalReview(epoch=1)}, "does not review"),
    ],
)
def test_wrong_messages_within_a_session(channel, message, words):
    call = Call(channel).send(open=opening())
    call.plan()
    error = status_of(call.send(**message))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.details()


def test_a_session_that_goes_on_replans_with_its_outcomes(channel):
    call = Call(channel).send(open=opening())
    first = steps_of(call.plan())
    for step, outcome in zip(first, (pb.OUTCOME_SUCCEEDED, pb.OUTCOME_FAILED), strict=False):
        call.send(outcome=pb.SubgoalOutcome(epoch=1, index=step.index, outcome=outcome))
    call.send(replan=pb.Replan(base_epoch=1, reason=pb.REPLAN_REASON_PROGRESS))
    responses = call.plan(fake_observation(2))
    assert responses[-1].plan_complete.epoch == 2
    history = [StepOutcome(first[0], Outcome.SUCCEEDED), StepOutcome(first[1], Outcome.FAILED)]
    expected = FakePlanner().plan(TASK, Still(fake_observation(2)), history)
    assert steps_of(responses) == collect("x", expected).steps

    # given history goes before remembered outcomes, a new instruction before the old one
    given = codec.history_to_proto(history[:1])
    call.send(replan=pb.Replan(instruction="sort them", history=given))
    expected = FakePlanner().plan(Task("sort them", TASK.generation), Still(fake_observation(2)), history[:1])
    assert steps_of(call.plan(fake_observation(2))) == collect("x", expected).steps
    assert list(call.close().responses) == []


def test_replan_supersedes_and_interrupt_stops(channel_of_slow_planner):
    call = Call(channel_of_slow_planner).send(open=opening())
    call.until("credit")
    call.send(observation=codec.observation_to_proto(fake_observation(), PNG))
    call.until("text_delta")
    call.send(replan=pb.Replan(base_epoch=1))
    assert call.until("plan_complete")[-1].plan_complete.reason == pb.FINISH_REASON_SUPERSEDED
    call.until("credit")
    call.send(observation=codec.observation_to_proto(fake_observation(), PNG))
    call.until("text_delta")
    call.send(interrupt=pb.Interrupt(epoch=1))  # of the past: without effect
    call.send(ping=pb.Ping(id=4))
    assert call.until("pong")[-1].pong.id == 4
    call.send(interrupt=pb.Interrupt(epoch=2))
    end = call.until("plan_complete")[-1].plan_complete
    assert (end.epoch, end.reason) == (2, pb.FINISH_REASON_INTERRUPTED)
    assert list(call.close().responses) == []


@pytest.fixture
def channel_of_slow_planner():
    slow = FakePlanner(steps=50, token_delay_s=0.05)
    with running_service(lambda: slow, config_of()) as target, grpc.insecure_channel(target) as one:
        yield one


def test_half_close_finishes_the_plan_in_flight(channel):
    call = Call(channel).send(open=opening())
    call.until("credit")
    call.send(observation=codec.observation_to_proto(fake_observation(), PNG)).close()
    assert list(call.responses)[-1].plan_complete.reason == pb.FINISH_REASON_STOP


def test_a_fault_leaves_the_session_usable():
    failing = FakePlanner(fail_at=0)
    with running_service(lambda: failing) as target, grpc.insecure_channel(target) as one:
        call = Call(one).send(open=opening())
        for epoch in (1, 2):
            call.until("credit")
            call.send(observation=codec.observation_to_proto(fake_observation(), PNG))
            fault = call.until("fault")[-1].fault
            assert (fault.epoch, fault.code) == (epoch, pb.FAULT_CODE_MALFORMED_OUTPUT)
            call.send(replan=pb.Replan(base_epoch=epoch))


def test_no_observation_and_no_order_end_in_time():
    config = config_of(observation_timeout_s=0.1, idle_timeout_s=0.2, open_timeout_s=0.1)
    with running_service(FakePlanner, config) as target, grpc.insecure_channel(target) as one:
        call = Call(one).send(open=opening())
        assert call.until("fault")[-1].fault.code == pb.FAULT_CODE_STALE_OBSERVATION
        error = status_of(call)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "idle" in error.details()
        assert "no `open`" in status_of(Call(one)).details()


class Broken:
    """A planner with a defect."""

    def plan(self, task, frames, history=(), *, stop=None):
        yield PlanStarted(frames.newest().seq, 0)
        raise ZeroDivisionError("secret words of the inside")


class Unfinished(Broken):
    """A planner that breaks its contract."""

    def plan(self, task, frames, history=(), *, stop=None):
        yield PlanStarted(frames.newest().seq, 0)


@pytest.mark.parametrize("planner", [Broken(), Unfinished()])
def test_a_defect_is_an_id_for_the_peer_and_a_traceback_in_the_log(planner, caplog):
    with running_service(lambda: planner) as target, grpc.insecure_channel(target) as one:
        call = Call(one).send(open=opening())
        call.until("credit")
        with caplog.at_level(logging.ERROR):
            call.send(observation=codec.observation_to_proto(fake_observation(), PNG))
            error = status_of(call)
    error_id = dict(error.trailing_metadata())[ERROR_ID_KEY]
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error_id in error.details()
    assert "secret" not in error.details()
    assert "Traceback" not in error.details()
    assert error_id in caplog.text
    assert "Traceback" in caplog.text


def test_each_log_line_of_a_session_names_it(channel, caplog):
    with caplog.at_level(logging.INFO, "emu_planner.service.session"):
        Call(channel).send(open=opening(session_id="robot-7")).plan()
    lines = [one for one in caplog.records if one.name == "emu_planner.service.session"]
    assert lines
    assert all(one.session == "robot-7" and "robot-7" in one.getMessage() for one in lines)


def test_too_many_sessions_tell_when_to_come_again():
    with (
        running_service(FakePlanner, config_of(max_sessions=1, retry_after_s=1.5)) as target,
        grpc.insecure_channel(target) as one,
    ):
        first = Call(one).send(open=opening())
        first.until("opened")
        error = status_of(Call(one).send(open=opening()))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(error.trailing_metadata())[RETRY_AFTER_KEY] == "1500"


def test_generate_plan_takes_the_newest_of_its_observations(channel):
    stub = planner_pb2_grpc.PlannerServiceStub(channel)
    observations = [codec.observation_to_proto(fake_observation(seq, seq=seq), PNG) for seq in (1, 3, 2)]
    request = pb.GeneratePlanRequest(session=opening(), observations=observations)
    steps = steps_of(one.event for one in stub.GeneratePlan(request, timeout=60))
    expected = FakePlanner().plan(TASK, Still(fake_observation(3, seq=3)))
    assert steps == collect("x", expected).steps
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.GeneratePlan(pb.GeneratePlanRequest(session=opening()), timeout=60))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no observation" in raised.value.details()


def test_health_follows_the_model_and_reflection_names_the_service():
    loaded = threading.Event()

    def load():
        loaded.wait(30)
        return FakePlanner()

    with running_service(load) as target, grpc.insecure_channel(target) as one:
        health = health_pb2_grpc.HealthStub(one)
        request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        watch = health.Watch(request, timeout=30)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        loaded.set()
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        assert SERVICE_NAME in ProtoReflectionDescriptorDatabase(one).get_services()


class Busy:
    """A planner that computes without a pause, as a model on the CPU does."""

    def plan(self, task, frames, history=(), *, stop=None):
        yield PlanStarted(frames.newest().seq, 0)
        while not stop.requested:
            sum(range(1000))
        raise PlanError(ErrorCode.INVALID_OUTPUT, "stopped")


def test_the_service_answers_while_a_planner_computes():
    with running_service(Busy) as target, grpc.insecure_channel(target) as one:
        call = Call(one).send(open=opening())
        call.until("credit")
        call.send(observation=codec.observation_to_proto(fake_observation(), PNG))
        call.until("plan_started")
        health = health_pb2_grpc.HealthStub(one)
        request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        for number in range(5):
            assert health.Check(request, timeout=20).status == health_pb2.HealthCheckResponse.SERVING
            call.send(ping=pb.Ping(id=number))
            assert call.until("pong")[-1].pong.id == number
        call.responses.cancel()


def test_config_refuses_what_is_not_safe():
    for address in ("0.0.0.0:1", "[::]:1", "robot.example:1"):
        with pytest.raises(ValueError, match="other machines"):
            ServiceConfig(address=address)
        ServiceConfig(address=address, insecure=True)
    for address in ("127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/tmp/x"):
        ServiceConfig(address=address)
    with pytest.raises(ValueError, match="neither"):
        ServiceConfig(address="nonsense")
    with pytest.raises(ValueError, match="max_sessions"):
        ServiceConfig(max_sessions=0)
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="resume_window_s"):
            ServiceConfig(resume_window_s=seconds)


def test_a_taken_port_and_a_failing_load_are_raised():
    with (
        running_service(FakePlanner) as target,
        pytest.raises(OSError, match="cannot listen"),
        running_service(FakePlanner, ServiceConfig(address=target)),
    ):
        pytest.fail("two services on one port")

    def load():
        raise FileNotFoundError("no checkpoint")

    with pytest.raises(FileNotFoundError, match="no checkpoint"), running_service(load):
        pass
