"""Resume as any client of the wire sees it: raw messages, statuses with words, who may fetch what."""

import time

import grpc
import pytest

from emu_planner.plan import ErrorCode
from emu_planner.service.access import hash_token
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import CODE_KEY, RESUME
from tests.fakes import FakePlanner, fake_observation
from tests.service.calls import PNG, Call, opening, status_of
from tests.service.test_remote_planner import Gate, wait_until
from tests.service.test_resume import Counted
from tests.service.test_security import Secrets

OBSERVATION = codec.observation_to_proto(fake_observation(), PNG)


def config_of(**changes):
    return ServiceConfig(**{"address": "127.0.0.1:0", "drain_timeout_s": 0.0, **changes})


def lasting(session_id, **changes):
    return opening(session_id=session_id, client_capabilities=[RESUME], **changes)


def coming_back(session_id, after):
    return pb.OpenSession(session_id=session_id, resume=pb.ResumePoint(last_response_seq=after))


def active(channel):
    stub = planner_pb2_grpc.PlannerServiceStub(channel)
    return stub.GetServerInfo(pb.GetServerInfoRequest()).server.active_sessions


def numbers(responses):
    return [response.seq for response in responses if response.seq]


@pytest.fixture
def counted():
    return Counted(FakePlanner())


@pytest.fixture
def channel(counted):
    with running_service(lambda: counted, config_of()) as target, grpc.insecure_channel(target) as one:
        yield one


def test_responses_are_numbered_and_come_again_from_any_place(channel, counted):
    call = Call(channel).send(open=lasting("a"))
    whole = call.plan(fake_observation())
    assert whole[0].opened.resume_window.seconds == 30
    assert not whole[0].opened.resumed
    counts = numbers(whole)
    assert counts == list(range(1, len(counts) + 1))
    for after in (0, 1, 10, counts[-1] - 1):
        again = Call(channel).send(open=coming_back("a", after))
        responses = again.until("plan_complete")
        assert responses[0].opened.resumed
        assert responses[1:] == [one for one in whole if one.seq > after]
    assert counted.plans == 1
    # the session is the newest call's: it plans on there
    again.send(replan=pb.Replan())
    assert again.plan()[-1].plan_complete.epoch == 2
    assert status_of(call).code() is grpc.StatusCode.ABORTED
    again.send(close=pb.CloseSession())
    assert list(again.responses) == []
    wait_until(lambda: active(channel) == 0)


def test_the_same_opening_twice_is_one_plan(channel, counted):
    first = Call(channel).send(open=lasting("a"))
    first.until("credit")
    second = Call(channel).send(open=lasting("a"))
    responses = second.plan()
    assert responses[0].opened.resumed
    assert responses[-1].plan_complete.reason == pb.FINISH_REASON_STOP
    assert counted.plans == 1
    assert "taken this session over" in status_of(first).details()


def test_an_id_that_is_taken_by_another_request(channel):
    first = Call(channel).send(open=lasting("a"))
    first.until("credit")
    error = status_of(Call(channel).send(open=lasting("a", instruction="something else")))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "another request" in error.details()
    # the first is not disturbed
    first.send(observation=OBSERVATION)
    first.until("plan_complete")


@pytest.mark.parametrize(
    ("session_id", "after", "status", "words"),
    [
        ("a", 1000, grpc.StatusCode.OUT_OF_RANGE, "after response 1000"),
        ("a", 2, grpc.StatusCode.OUT_OF_RANGE, "not kept any more"),
        ("never-was", 1, grpc.StatusCode.NOT_FOUND, "started again"),
        ("bad id", 1, grpc.StatusCode.INVALID_ARGUMENT, "session_id"),
    ],
)
def test_what_cannot_go_on_says_why(channel, session_id, after, status, words):
    call = Call(channel).send(open=lasting("a"))
    call.plan()
    call.send(received=pb.Received(seq=5)).send(ping=pb.Ping(id=1))
    call.until("pong")
    error = status_of(Call(channel).send(open=coming_back(session_id, after)))
    assert error.code() is status
    assert words in error.details()
    assert dict(error.trailing_metadata())[CODE_KEY] == ErrorCode.INVALID_REQUEST.value
    # and whoever has the session keeps it
    call.send(ping=pb.Ping(id=2))
    assert call.until("pong")[-1].pong.id == 2


def test_what_was_never_sent_cannot_have_arrived(channel):
    call = Call(channel).send(open=lasting("a"))
    call.until("credit")
    error = status_of(call.send(received=pb.Received(seq=99)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "response 99 cannot have arrived" in error.details()
    wait_until(lambda: active(channel) == 0)


def test_a_session_is_its_openers_alone(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"robot-1 {hash_token('one')}\nrobot-2 {hash_token('two')}\n")
    one, two = (((("authorization", f"Bearer {token}"),)) for token in ("one", "two"))
    with (
        running_service(FakePlanner, config_of(tokens=tokens)) as target,
        grpc.insecure_channel(target) as channel,
    ):
        mine = Call(channel, one).send(open=lasting("a"))
        mine.until("credit")
        for message in (coming_back("a", 0), lasting("a")):
            error = status_of(Call(channel, two).send(open=message))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "somebody else" in error.details()
        mine.responses.cancel()
        back = Call(channel, one).send(open=coming_back("a", 0))
        assert back.plan()[-1].plan_complete.reason == pb.FINISH_REASON_STOP


def test_a_certificate_tells_an_opener_too(tmp_path):
    secrets = Secrets(tmp_path)
    other, other_key = secrets.issue("other", "robot-2.example")
    config = config_of(
        address="localhost:0",
        tls_certificate=secrets.tls_certificate,
        tls_key=secrets.tls_key,
        client_ca=secrets.ca,
    )
    with running_service(FakePlanner, config) as target:
        pairs = ((secrets.certificate, secrets.key), (other, other_key))
        one, two = (
            grpc.secure_channel(
                target,
                grpc.ssl_channel_credentials(
                    secrets.ca.read_bytes(), key.read_bytes(), certificate.read_bytes()
                ),
            )
            for certificate, key in pairs
        )
        with one, two:
            mine = Call(one).send(open=lasting("a"))
            mine.until("credit")
            error = status_of(Call(two).send(open=coming_back("a", 0)))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            back = Call(one).send(open=coming_back("a", 0))
            assert back.plan()[-1].plan_complete.reason == pb.FINISH_REASON_STOP


def test_half_close_does_not_end_what_can_be_resumed(channel):
    call = Call(channel).send(open=lasting("a"))
    call.until("credit")
    call.send(observation=OBSERVATION).close()
    whole = list(call.responses)
    assert whole[-1].plan_complete.reason == pb.FINISH_REASON_STOP
    again = Call(channel).send(open=coming_back("a", 3)).until("plan_complete")
    assert numbers(again) == list(range(4, whole[-1].seq + 1))


def test_a_client_that_does_not_know_resume_is_served_as_ever():
    gate = Gate()
    with running_service(lambda: gate) as target, grpc.insecure_channel(target) as channel:
        call = Call(channel).send(open=opening(session_id="a"))
        seen = call.until("credit")
        call.send(observation=OBSERVATION)
        seen += call.until("plan_started")
        assert numbers(seen) == []
        assert not seen[0].opened.HasField("resume_window")
        # its id is no name for anything, and cancelling drops its plan
        other = Call(channel).send(open=opening(session_id="a"))
        other.until("progress")
        error = status_of(Call(channel).send(open=coming_back("a", 0)))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        other.responses.cancel()
        call.responses.cancel()
        assert gate.ended.acquire(timeout=30)
        wait_until(lambda: active(channel) == 0)


def test_a_session_without_a_link_makes_room_for_its_own_client(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"robot-1 {hash_token('one')}\nrobot-2 {hash_token('two')}\n")
    one, two = (((("authorization", f"Bearer {token}"),)) for token in ("one", "two"))
    with (
        running_service(FakePlanner, config_of(tokens=tokens, max_sessions=1)) as target,
        grpc.insecure_channel(target) as channel,
    ):
        left = Call(channel, one).send(open=lasting("a"))
        left.until("credit")
        busy = status_of(Call(channel, one).send(open=lasting("b")))
        assert busy.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # a half-closed call ends when no plan is in work
        left.send(observation=OBSERVATION).close()
        list(left.responses)
        others = status_of(Call(channel, two).send(open=lasting("c")))
        assert others.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        Call(channel, one).send(open=lasting("b")).until("credit")
        gone = status_of(Call(channel, one).send(open=coming_back("a", 0)))
        assert gone.code() is grpc.StatusCode.NOT_FOUND


def test_more_than_is_kept_ends_a_session_whose_client_is_away():
    gate = Gate(FakePlanner(steps=50))
    with (
        running_service(lambda: gate, config_of(resume_bytes=10_000)) as target,
        grpc.insecure_channel(target) as channel,
    ):
        call = Call(channel).send(open=lasting("a"))
        call.until("credit")
        call.send(observation=OBSERVATION)
        call.until("plan_started")
        call.responses.cancel()
        gate.go.set()
        wait_until(lambda: active(channel) == 0)
        error = status_of(Call(channel).send(open=coming_back("a", 1)))
        assert error.code() is grpc.StatusCode.NOT_FOUND


def test_a_service_that_drains_keeps_nothing():
    gate = Gate()
    with (
        running_service(lambda: gate, config_of(drain_timeout_s=20.0)) as target,
        grpc.insecure_channel(target) as channel,
    ):
        call = Call(channel).send(open=lasting("a"))
        call.until("credit")
        call.send(observation=OBSERVATION)
        call.until("plan_started")
        call.responses.cancel()
        begun_s = time.monotonic()
    # leaving has waited for the service to stop, and that for no session that nobody can come back to
    assert gate.ended.acquire(timeout=30)
    assert time.monotonic() - begun_s < 10
