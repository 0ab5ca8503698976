"""Clients that mean harm, or are only broken: what they can take of a service has an end."""

import contextlib
import logging
import socket
import threading

import cv2
import grpc
import numpy as np
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from emu_planner.plan import ErrorCode, FinishReason, Keyframe, PlanComplete, PlanStarted, Step, StepComplete
from emu_planner.service.access import hash_token
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.link import is_broken
from emu_planner.wire.status import CODE_KEY
from tests.fakes import FakePlanner, fake_observation
from tests.service.calls import PNG, Call, opening, status_of
from tests.service.test_remote_planner import Gate, wait_until

SIDE_PX = 64
SEEN = codec.observation_to_proto(fake_observation(), PNG)


def config_of(**changes) -> ServiceConfig:
    return ServiceConfig(**{"address": "127.0.0.1:0", "drain_timeout_s": 0.0, **changes})


# a connection of its own
ALONE = [("grpc.use_local_subchannel_pool", 1)]


def active(target: str) -> int:
    with grpc.insecure_channel(target, options=ALONE) as channel:
        stub = planner_pb2_grpc.PlannerServiceStub(channel)
        return stub.GetServerInfo(pb.GetServerInfoRequest()).server.active_sessions


def plain_picture(name: str) -> pb.Frame:
    """One colour: few bytes, as many pixels as any."""
    data = cv2.imencode(".png", np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8))[1].tobytes()
    kind = pb.IMAGE_ENCODING_PNG
    return pb.Frame(camera=name, encoding=kind, data=data, width=SIDE_PX, height=SIDE_PX)


class Gallery:
    """A planner of many large pictures, as fast as it can."""

    def __init__(self, pictures: int = 200) -> None:
        self.pictures, self.made, self.ended = pictures, 0, threading.Event()

    def plan(self, task, frames, history=(), *, stop=None):
        rgb = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
        try:
            yield PlanStarted(frames.newest(5.0).seq, 0, 0.0)
            for index in range(self.pictures):
                if stop.requested:
                    break
                self.made += 1
                yield StepComplete(Step(index, "look", Keyframe(rgb, ("front",))))
            yield PlanComplete(FinishReason.STOP)
        finally:
            self.ended.set()


def unread(target: str, capabilities: tuple[str, ...] = ()) -> tuple[grpc.Channel, Call]:
    """A session that plans, and whose client reads nothing from here on."""
    channel = grpc.insecure_channel(target, options=ALONE)
    call = Call(channel).send(open=opening(client_capabilities=capabilities))
    call.until("credit")
    call.send(observation=SEEN)
    return channel, call


def test_a_plan_is_only_so_far_ahead_of_a_client_that_does_not_read():
    gallery = Gallery()
    with running_service(lambda: gallery, config_of(unread_bytes=4_000_000)) as target:
        channel, call = unread(target)
        # its place is free again, for others
        assert gallery.ended.wait(30)
        assert gallery.made < 100
        error = status_of(call)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "reads too slowly" in error.details()
        channel.close()


@pytest.mark.parametrize("capabilities", [(), ("resume",)], ids=["one call", "can resume"])
def test_the_session_of_a_client_that_takes_nothing_ends(capabilities):
    limits = {"unread_bytes": 4_000_000, "write_timeout_s": 0.5, "resume_window_s": 0.2}
    with running_service(Gallery, config_of(**limits)) as target:
        channel, _ = unread(target, capabilities)
        wait_until(lambda: active(target) == 0)
        channel.close()


def test_who_took_nothing_for_a_while_hears_of_a_broken_link_and_comes_back(caplog):
    with (
        caplog.at_level(logging.INFO, "emu_planner"),
        # less than is kept for a client that is away
        running_service(lambda: Gallery(20), config_of(write_timeout_s=0.5)) as target,
    ):
        channel, call = unread(target, ("resume",))
        wait_until(lambda: any("the link is gone" in line for line in caplog.messages))
        heard, error = broken(call.responses)
        assert is_broken(error)
        assert "took no response" in error.details()
        back = pb.OpenSession(session_id="a-session", resume=pb.ResumePoint(last_response_seq=heard[-1].seq))
        again = Call(channel).send(open=back)
        assert again.until("plan_complete")[0].opened.resumed
        again.close()
        channel.close()


def test_a_call_of_given_pictures_that_nobody_reads_ends_without_a_defect(caplog):
    with (
        caplog.at_level(logging.INFO, "emu_planner"),
        running_service(Gallery, config_of(unread_bytes=2**30, write_timeout_s=0.5)) as target,
        grpc.insecure_channel(target, options=ALONE) as channel,
    ):
        request = pb.GeneratePlanRequest(session=opening(), observations=[SEEN])
        call = planner_pb2_grpc.PlannerServiceStub(channel).GeneratePlan(request, timeout=60)
        next(call)
        wait_until(lambda: active(target) == 0)
        assert "took no response" in broken(call)[1].details()
    assert not [line for line in caplog.messages if "internal error" in line]


def broken(responses) -> tuple[list, grpc.RpcError]:
    """What comes before the end of a call that nobody read from, and how it ends."""
    heard: list = []
    with pytest.raises(grpc.RpcError) as raised:
        heard.extend(responses)  # keeps what came before the error
    return heard, raised.value


def test_pictures_of_a_message_are_limited_together():
    config = config_of(max_pixels=SIDE_PX**2)
    with running_service(FakePlanner, config) as target, grpc.insecure_channel(target) as channel:
        pictures = [plain_picture(f"camera{n}") for n in range(5)]
        call = Call(channel).send(open=opening())
        call.until("credit")
        call.send(observation=pb.Observation(frames=pictures))
        error = status_of(call)
        assert (error.code(), dict(error.trailing_metadata())[CODE_KEY]) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "invalid_request",
        )
        assert "together" in error.details()
        past = [
            pb.PastSubgoal(
                index=n,
                instruction="look",
                outcome=pb.OUTCOME_SUCCEEDED,
                keyframe=pb.Keyframe(status=pb.KEYFRAME_STATUS_OK, image=picture, views=["front"]),
            )
            for n, picture in enumerate(pictures)
        ]
        error = status_of(Call(channel).send(open=opening(history=past)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "together" in error.details()
        assert not status_is_error(Call(channel).send(open=opening(history=past[:4])))


def test_cameras_and_frames_have_a_number():
    with running_service(FakePlanner, config_of()) as target, grpc.insecure_channel(target) as channel:
        cameras = [pb.CameraSpec(name=f"camera{n}") for n in range(65)]
        error = status_of(Call(channel).send(open=opening(cameras=cameras)))
        assert (error.code(), "65 cameras" in error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        call = Call(channel).send(open=opening())
        call.until("credit")
        call.send(observation=pb.Observation(frames=[pb.Frame(camera=camera.name) for camera in cameras]))
        error = status_of(call)
        assert (error.code(), "65 frames" in error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)


def test_long_words_of_an_outcome_are_cut():
    class Reading(FakePlanner):
        def plan(self, task, frames, history=(), *, stop=None):
            seen.extend(history)
            return super().plan(task, frames, history, stop=stop)

    seen: list = []
    with running_service(Reading, config_of()) as target, grpc.insecure_channel(target) as channel:
        call = Call(channel).send(open=opening())
        call.plan()
        call.send(
            outcome=pb.SubgoalOutcome(epoch=1, index=0, outcome=pb.OUTCOME_FAILED, detail="x" * 1_000_000)
        )
        call.send(replan=pb.Replan())
        call.plan()
    assert [len(past.detail) for past in seen] == [2000]


def status_is_error(call: Call) -> bool:
    return "credit" not in [one.WhichOneof("message") for one in call.until("credit")]


@pytest.mark.parametrize(
    ("line", "status"),
    [("robot-1 {} calls_per_minute=2", "RESOURCE_EXHAUSTED"), ("robot-2 {}", "UNAUTHENTICATED")],
    ids=["limit", "withdrawn"],
)
def test_a_plan_more_in_a_session_counts_as_a_call_does(tmp_path, line, status):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"robot-1 {hash_token('mine')} calls_per_minute=2\n")
    sent = (("authorization", "Bearer mine"),)
    config = config_of(tokens=tokens)
    with running_service(FakePlanner, config) as target, grpc.insecure_channel(target) as channel:
        call = Call(channel, sent).send(open=opening())
        call.plan()
        call.send(replan=pb.Replan())
        call.plan()
        tokens.write_text(line.format(hash_token("mine")) + "\n# changed\n")
        call.send(replan=pb.Replan())
        error = status_of(call)
        assert error.code() is grpc.StatusCode[status]
        assert "robot-1" in error.details()


def test_who_queues_when_the_service_drains_is_sent_elsewhere_while_another_plan_goes_on():
    gate, service = Gate(), contextlib.ExitStack()
    target = service.enter_context(running_service(lambda: gate, config_of(drain_timeout_s=30.0)))
    channel, running = unread(target)
    running.until("plan_started")
    waiting = Call(channel).send(open=opening(session_id="second"))
    waiting.until("progress")
    leaving = threading.Thread(target=service.close)
    leaving.start()
    error = status_of(waiting)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(error.trailing_metadata())[CODE_KEY] == ErrorCode.MODEL_NOT_READY.value
    gate.go.set()
    assert running.until("plan_complete")[-1].plan_complete.reason == pb.FINISH_REASON_STOP
    running.close()
    leaving.join()
    channel.close()


@pytest.fixture
def encrypted(tmp_path) -> dict:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    pem, key = tmp_path / "service.pem", tmp_path / "service.key"
    certificate.cert_chain_pems[0].write_to_path(pem)
    certificate.private_key_pem.write_to_path(key)
    return {"tls_certificate": pem, "tls_key": key}


@pytest.mark.parametrize("begins", [b"", b"\x16\x03\x01"], ids=["says nothing", "begins TLS and stops"])
def test_who_connects_and_does_not_go_on_is_put_out(encrypted, begins):
    config = config_of(handshake_timeout_s=0.3, **encrypted)
    with running_service(FakePlanner, config) as target:
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as one:
            one.sendall(begins)
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""


def test_streams_of_one_connection_are_limited():
    config = config_of(max_sessions=1)
    watched = health_pb2.HealthCheckRequest()
    with running_service(FakePlanner, config) as target, grpc.insecure_channel(target) as channel:
        answered = threading.Semaphore(0)

        def listen(call) -> None:
            with contextlib.suppress(grpc.RpcError):
                next(call)
                answered.release()

        calls = [health_pb2_grpc.HealthStub(channel).Watch(watched) for _ in range(90)]
        for call in calls:
            threading.Thread(target=listen, args=(call,), daemon=True).start()
        for _ in range(4 + 64):
            assert answered.acquire(timeout=30)
        # another connection is served, and so this one has had the time
        assert active(target) == 0
        assert not answered.acquire(timeout=0.3)
        for call in calls:
            call.cancel()


def test_messages_that_nobody_knows_are_logged_once(caplog):
    with (
        caplog.at_level(logging.INFO),
        running_service(FakePlanner, config_of()) as target,
        grpc.insecure_channel(target) as channel,
    ):
        call = Call(channel).send(open=opening())
        call.until("credit")
        for _ in range(20):
            call.send()
        call.send(ping=pb.Ping(id=1))
        call.until("pong")
    assert sum("newer wire version" in line for line in caplog.messages) == 1
