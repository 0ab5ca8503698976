"""RemotePlanner against a real service over a real socket."""

import contextlib
import threading
import time

import numpy as np
import pytest

from emu_planner.plan import (
    Camera,
    ErrorCode,
    FinishReason,
    Frame,
    Generation,
    Mailbox,
    Outcome,
    PlanComplete,
    PlanError,
    PlanStarted,
    StepOutcome,
    Still,
    Stop,
    Task,
    TextDelta,
    Waiting,
    collect,
)
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.images import Encoding, ImageConfig
from tests.fakes import FakePlanner, fake_observation

PNG = ImageConfig(encoding=Encoding.PNG)
LOSSLESS = ClientConfig(images=PNG)
TASK = Task("stack the blocks", Generation(seed=5))


def service_config(**changes):
    return ServiceConfig(**{"address": "127.0.0.1:0", "drain_timeout_s": 0.0, **changes})


def error_of(planner, task=TASK, frames=None, **options):
    with pytest.raises(PlanError) as raised:
        list(planner.plan(task, frames or Still(fake_observation()), **options))
    return raised.value


class Gate:
    """A planner that stops at a gate after its first words, until told to go on or to stop."""

    def __init__(self, inner=None, deaf=False):
        self.inner, self.deaf = inner or FakePlanner(), deaf
        self.running = threading.Semaphore(0)
        self.go = threading.Event()
        self.ended = threading.Semaphore(0)

    def plan(self, task, frames, history=(), *, stop=None):
        try:
            for event in self.inner.plan(task, frames, history, stop=stop):
                yield event
                if isinstance(event, PlanStarted):
                    self.running.release()
                    while not self.go.wait(0.01) and (self.deaf or not stop.requested):
                        pass
        finally:
            self.ended.release()


@pytest.mark.parametrize(
    "generation",
    [Generation(seed=5), Generation(keyframes=False), Generation(max_subgoals=2, seed=2**64 - 1)],
)
def test_equal_reports_directly_and_over_the_wire(generation):
    task, frames = Task("stack the blocks", generation), Still(fake_observation(3))
    fake = FakePlanner()
    with running_service(lambda: fake) as target, RemotePlanner(target, LOSSLESS) as remote:
        first = collect(task.instruction, fake.plan(task, frames))
        assert collect(task.instruction, remote.plan(task, frames)) == first
        history = [
            StepOutcome(first.steps[0], Outcome.SUCCEEDED),
            StepOutcome(first.steps[1], Outcome.FAILED, "it fell"),
        ]
        again = collect(task.instruction, fake.plan(task, frames, history))
        assert collect(task.instruction, remote.plan(task, frames, history)) == again
        assert again.steps[0].index == 2


def test_events_are_the_same_one_by_one():
    frames = Still(fake_observation())
    with running_service(FakePlanner) as target, RemotePlanner(target, LOSSLESS) as remote:
        events = [one for one in remote.plan(TASK, frames) if not isinstance(one, Waiting)]
    assert events == list(FakePlanner().plan(TASK, frames))


def test_a_failing_plan_keeps_steps_code_and_words():
    for code in ErrorCode:
        if code in (ErrorCode.SERVER_UNAVAILABLE, ErrorCode.INCOMPATIBLE_SERVER):
            continue  # a planner behind a service that answers says neither
        fake = FakePlanner(fail_at=1, error=PlanError(code, "the words", retryable=False))
        with running_service(lambda fake=fake: fake) as target, RemotePlanner(target, LOSSLESS) as remote:
            report = collect("x", remote.plan(TASK, Still(fake_observation())))
            assert (report.error_code, len(report.steps)) == (code.value, 1)
            assert "the words" in report.error_message
            assert remote.server_info().active_sessions == 0


def test_unix_socket(tmp_path):
    config = service_config(address=f"unix:{tmp_path}/planner.sock")
    with running_service(FakePlanner, config) as target, RemotePlanner(target) as remote:
        assert collect("x", remote.plan(TASK, Still(fake_observation()))).reason == "stop"


def test_server_info_and_wait_ready():
    loaded = threading.Event()

    def load():
        loaded.wait(30)
        return FakePlanner()

    config = service_config(model="nano", model_version="0", max_sessions=3)
    with running_service(load, config) as target, RemotePlanner(target) as remote:
        info = remote.server_info()
        assert (info.model, info.state, info.max_sessions) == ("nano", "loading", 3)
        with pytest.raises(PlanError) as raised:
            remote.wait_ready(0.2)
        assert raised.value.code is ErrorCode.MODEL_NOT_READY
        loaded.set()
        assert remote.wait_ready(30).state == "running"


def test_a_plan_waits_while_the_model_loads():
    loaded = threading.Event()

    def load():
        loaded.wait(30)
        return FakePlanner()

    with running_service(load) as target, RemotePlanner(target) as remote:
        events = remote.plan(TASK, Still(fake_observation()))
        first = next(events)
        assert isinstance(first, Waiting)
        assert "loading" in first.detail
        loaded.set()
        assert collect("x", events).reason == "stop"


def test_a_load_that_never_ends_does_not_hold_its_caller():
    loaded = threading.Event()
    config = service_config(loading_notice_s=0.05)

    def load():
        loaded.wait(60)
        return FakePlanner()

    with (
        running_service(load, config) as target,
        RemotePlanner(target, ClientConfig(start_timeout_s=0.3)) as remote,
    ):
        error = error_of(remote)
        assert error.code is ErrorCode.TIMEOUT
        assert "the plan to begin" in error.message
        waiting = remote.plan(TASK, Still(fake_observation()))
        assert isinstance(next(waiting), Waiting)
    # the service has shut down without ever having been ready
    with pytest.raises(PlanError):
        list(waiting)
    loaded.set()


def test_nobody_there_is_a_typed_error():
    with RemotePlanner("127.0.0.1:1", ClientConfig(connect_timeout_s=0.3)) as remote:
        error = error_of(remote)
        assert error.code is ErrorCode.SERVER_UNAVAILABLE
        assert error.retryable
        assert "127.0.0.1:1" in error.message


def test_no_frame_is_stale_and_frees_the_session():
    config = ClientConfig(observation_timeout_s=0.1)
    with running_service(FakePlanner) as target, RemotePlanner(target, config) as remote:
        assert error_of(remote, frames=Mailbox(("front",))).code is ErrorCode.STALE_OBSERVATION
        wait_until(lambda: remote.server_info().active_sessions == 0)


def test_a_source_that_fails_is_told_at_once_and_not_taken_for_a_missing_picture():
    class Broken:
        def newest(self, timeout_s=0.0):
            raise OSError("the camera's driver is gone")

    with running_service(FakePlanner) as target, RemotePlanner(target, LOSSLESS) as remote:
        error = error_of(remote, frames=Broken())
    assert error.code is ErrorCode.INTERNAL
    assert "OSError: the camera's driver is gone" in error.message
    assert isinstance(error.__cause__, OSError)


def test_undeclared_camera_and_too_large_a_message():
    declared = ClientConfig(cameras=(Camera("front", 32, 24),))
    with running_service(FakePlanner) as target:
        with RemotePlanner(target, declared) as remote:
            error = error_of(remote)
            assert error.code is ErrorCode.INVALID_REQUEST
            assert "'side' was not declared" in error.message
        with RemotePlanner(target, ClientConfig(max_message_bytes=2000, images=PNG)) as remote:
            error = error_of(remote)
            assert error.code is ErrorCode.RESOURCE_EXHAUSTED
            assert "2000" in error.message


def test_the_services_time_limit_ends_a_slow_plan():
    gate = Gate()
    task = Task("x", Generation(first_subgoal_timeout_s=0.2))
    with running_service(lambda: gate) as target, RemotePlanner(target) as remote:
        error = error_of(remote, task)
        assert (error.code, error.retryable) == (ErrorCode.TIMEOUT, True)
        assert "first subgoal" in error.message
        assert gate.ended.acquire(timeout=30)


def test_the_clients_own_watchdog_ends_a_silent_plan():
    gate = Gate()
    config = ClientConfig(first_subgoal_timeout_s=0.2)
    with running_service(lambda: gate) as target, RemotePlanner(target, config) as remote:
        error = error_of(remote)
        assert error.code is ErrorCode.TIMEOUT
        assert "the first subgoal" in error.message
        assert gate.ended.acquire(timeout=30)


def test_stop_interrupts_in_band():
    gate, stop = Gate(), Stop()
    with running_service(lambda: gate) as target, RemotePlanner(target) as remote:
        events = remote.plan(TASK, Still(fake_observation()), stop=stop)
        assert isinstance(next(events), PlanStarted)
        stop.request()
        assert list(events)[-1].reason is FinishReason.INTERRUPTED
        assert gate.ended.acquire(timeout=30)


def test_stop_before_the_plan_begins():
    stop = Stop()
    stop.request()
    with running_service(FakePlanner) as target, RemotePlanner(target) as remote:
        events = list(remote.plan(TASK, Still(fake_observation()), stop=stop))
        assert events[-1] == PlanComplete(FinishReason.INTERRUPTED)
        assert not any(isinstance(event, TextDelta) for event in events)


def test_a_stop_at_any_moment_ends_in_order(caplog):
    fake = FakePlanner(token_delay_s=0.0005)
    with running_service(lambda: fake) as target, RemotePlanner(target) as remote:
        for number in range(60):
            stop = Stop()
            timer = threading.Timer(number * 0.0005, stop.request)
            timer.start()
            report = collect("x", remote.plan(TASK, Still(fake_observation()), stop=stop))
            timer.join()
            assert report.reason in ("interrupted", "stop"), report.error_message
    assert "internal error" not in caplog.text


@pytest.mark.parametrize("who", ["client", "service"])
def test_a_planner_deaf_to_stop_does_not_hold_its_caller(who):
    gate, stop = Gate(deaf=True), Stop()
    config = service_config(stop_grace_s=0.2 if who == "service" else 20.0)
    patience = ClientConfig(interrupt_grace_s=0.2 if who == "client" else 20.0)
    with running_service(lambda: gate, config) as target, RemotePlanner(target, patience) as remote:
        events = remote.plan(TASK, Still(fake_observation()), stop=stop)
        assert isinstance(next(events), PlanStarted)
        stop.request()
        assert list(events) == [PlanComplete(FinishReason.INTERRUPTED)]
        gate.go.set()
        assert gate.ended.acquire(timeout=30)


def test_abandoning_the_iterator_frees_session_and_slot():
    gate = Gate()
    with running_service(lambda: gate) as target, RemotePlanner(target) as remote:
        events = remote.plan(TASK, Still(fake_observation()))
        assert isinstance(next(events), PlanStarted)
        events.close()
        assert gate.ended.acquire(timeout=30)
        wait_until(lambda: remote.server_info().active_sessions == 0)
        gate.go.set()
        assert collect("x", remote.plan(TASK, Still(fake_observation()))).reason == "stop"


def test_a_client_that_vanishes_frees_its_slot():
    gate = Gate()
    with running_service(lambda: gate) as target, RemotePlanner(target) as other:
        gone = RemotePlanner(target)
        events = gone.plan(TASK, Still(fake_observation()))
        assert isinstance(next(events), PlanStarted)
        gone.close()
        assert gate.ended.acquire(timeout=30)
        wait_until(lambda: other.server_info().active_sessions == 0)
        with pytest.raises(PlanError):
            list(events)


def test_several_sessions_at_once_do_not_mix():
    reports, fake = {}, FakePlanner(token_delay_s=0.002)
    config = service_config(max_running_plans=4)
    with running_service(lambda: fake, config) as target, RemotePlanner(target, LOSSLESS) as remote:

        def work(number):
            task, frames = Task(f"task {number}"), Still(fake_observation(number))
            reports[number] = collect(task.instruction, remote.plan(task, frames))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, report in reports.items():
        frames = Still(fake_observation(number))
        assert report == collect(f"task {number}", FakePlanner().plan(Task(f"task {number}"), frames))
    assert len(reports) == 8


def test_a_full_service_says_so_with_words():
    gate = Gate()
    config = service_config(max_sessions=1)
    with running_service(lambda: gate, config) as target, RemotePlanner(target) as remote:
        events = remote.plan(TASK, Still(fake_observation()))
        next(events)
        error = error_of(remote)
        assert (error.code, error.retryable) == (ErrorCode.RESOURCE_EXHAUSTED, True)
        assert "all 1 sessions" in error.message
        gate.go.set()
        assert collect("x", events).reason == "stop"


def test_one_plan_after_another_fits_into_one_session():
    config = service_config(max_sessions=1)
    with running_service(FakePlanner, config) as target, RemotePlanner(target) as remote:
        for _ in range(20):
            assert collect("x", remote.plan(TASK, Still(fake_observation()))).reason == "stop"


def test_queue_tells_positions_and_is_first_come_first_served():
    gate = Gate()
    with running_service(lambda: gate) as target, RemotePlanner(target) as remote:
        first, second, third = (
            remote.plan(TASK, Still(fake_observation(seq=number))) for number in (1, 2, 3)
        )
        assert isinstance(next(first), PlanStarted)
        assert next(second).position == 0
        assert next(third).position == 1
        second.close()  # whoever leaves the queue makes room
        assert next(third).position == 0
        gate.go.set()
        assert collect("x", first).reason == "stop"
        assert next(third).observation_seq == 3
        assert collect("x", third).reason == "stop"


class Late:
    """A planner that takes its frame only when its source has shown many more."""

    def __init__(self, shown, frames_to_come):
        self.shown, self.frames_to_come = shown, frames_to_come

    def plan(self, task, frames, history=(), *, stop=None):
        while self.shown() < self.frames_to_come and not stop.requested:
            time.sleep(0.01)
        yield from FakePlanner(steps=1).plan(task, frames, history, stop=stop)


@contextlib.contextmanager
def camera_at_100_hz(box):
    done = threading.Event()

    def feed():
        rgb = np.zeros((24, 32, 3), np.uint8)
        while not done.wait(0.01):
            box.put(Frame(rgb, "front"))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        done.set()
        feeder.join()


def test_a_slow_planner_takes_the_newest_frame():
    box = Mailbox(("front",))
    planner = Late(lambda: box._seq, 150)
    with (
        camera_at_100_hz(box),
        running_service(lambda: planner) as target,
        RemotePlanner(target) as remote,
    ):
        events = remote.plan(TASK, box)
        started = next(one for one in events if isinstance(one, PlanStarted))
    # the first frame that was sent had a low number; a queue would have come to about that one
    assert started.observation_seq > 100


def test_no_frame_ages_in_the_queue():
    box, gate = Mailbox(("front",)), Gate()
    with (
        camera_at_100_hz(box),
        running_service(lambda: gate) as target,
        RemotePlanner(target) as remote,
    ):
        first = remote.plan(TASK, Still(fake_observation()))
        assert isinstance(next(first), PlanStarted)
        queued = remote.plan(TASK, box)
        assert isinstance(next(queued), Waiting)
        wait_until(lambda: box._seq > 100)
        gate.go.set()
        assert collect("x", first).reason == "stop"
        assert next(one for one in queued if isinstance(one, PlanStarted)).observation_seq > 100
    assert box.superseded > 50


def wait_until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
