"""A link that breaks under RemotePlanner: real sockets, cut at many places; every event comes once."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from emu_planner.goal.states import Ending, Review
from emu_planner.plan import (
    ErrorCode,
    FinishReason,
    Outcome,
    PlanComplete,
    PlanError,
    PlanStarted,
    StepComplete,
    StepOutcome,
    Still,
    Stop,
    Waiting,
)
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire.client import ClientConfig, RemotePlanner
from tests.fakes import FakePlanner, fake_observation
from tests.goal.test_goal import LIMITS, Work
from tests.service.calls import PNG, TASK
from tests.service.cutting import CuttingProxy
from tests.service.test_remote_planner import Gate, wait_until

STILL = Still(fake_observation())


def service_config(**changes):
    return ServiceConfig(**{"address": "127.0.0.1:0", "drain_timeout_s": 0.0, **changes})


def client(proxy, **changes):
    return RemotePlanner(proxy.address, ClientConfig(**{"images": PNG, "resume_patience_s": 20.0, **changes}))


class Counted:
    """A planner that counts its plans."""

    def __init__(self, inner):
        self.inner, self.plans = inner, 0

    def plan(self, task, frames, history=(), *, stop=None):
        self.plans += 1
        yield from self.inner.plan(task, frames, history, stop=stop)


def spoken(events):
    """Everything but the waiting, which depends on the moment."""
    return [event for event in events if not isinstance(event, Waiting)]


def test_a_plan_cut_at_many_places_comes_whole_and_once():
    expected = list(FakePlanner().plan(TASK, STILL))
    planner = Counted(FakePlanner())
    with running_service(lambda: planner, service_config()) as target:
        with CuttingProxy(target) as proxy, client(proxy) as remote:
            remote.server_info()
            before = proxy.from_service
            assert spoken(remote.plan(TASK, STILL)) == expected
            span = proxy.from_service - before
        # the last bytes are the farewell
        places = [[before + span * part // 12 + 1] for part in range(12)]
        # and links that break again and again within one plan
        places += [[before + span * part // 4 for part in range(5)], [before + 40, before + 41, before + 42]]
        for number, cuts in enumerate(places, start=2):
            with CuttingProxy(target, cuts) as proxy, client(proxy) as remote:
                remote.server_info()
                assert spoken(remote.plan(TASK, STILL)) == expected, f"cut after {cuts} bytes"
                assert proxy.broken
            assert planner.plans == number


def test_the_plan_goes_on_while_its_client_is_away():
    gate = Gate()
    with running_service(lambda: gate) as target, CuttingProxy(target) as proxy, client(proxy) as remote:
        losses = []
        remote.link_lost = losses.append
        events = remote.plan(TASK, STILL)
        seen = [next(events)]
        assert isinstance(seen[0], PlanStarted)
        proxy.refuse = True
        proxy.cut()
        gate.go.set()
        assert gate.ended.acquire(timeout=30)
        proxy.refuse = False
        assert seen + list(events) == list(FakePlanner().plan(TASK, STILL))
        assert [error.code for error in losses] == [ErrorCode.SERVER_UNAVAILABLE]


class OnceOnly:
    """A camera that has one picture, and is stale ever after."""

    def __init__(self):
        self.asked = 0

    def newest(self, timeout_s=0.0):
        self.asked += 1
        if self.asked > 1:
            raise PlanError(ErrorCode.STALE_OBSERVATION, "camera front is stale", retryable=True)
        return fake_observation()


def test_a_plan_that_has_its_picture_asks_for_no_other():
    gate, source = Gate(), OnceOnly()
    with running_service(lambda: gate) as target, CuttingProxy(target) as proxy, client(proxy) as remote:
        events = remote.plan(TASK, source)
        seen = [next(events)]
        proxy.cut()
        threading.Timer(1.0, gate.go.set).start()  # when the client is back
        assert seen + list(events) == list(FakePlanner().plan(TASK, STILL))
    assert source.asked == 1


class SlowOnce:
    """A camera whose first picture comes late."""

    def __init__(self):
        self.asked, self.go = threading.Event(), threading.Event()

    def newest(self, timeout_s=0.0):
        self.asked.set()
        self.go.wait(10)
        return fake_observation()


def test_time_away_is_no_time_in_which_a_picture_could_come():
    source, config = SlowOnce(), service_config(observation_timeout_s=0.5)
    with (
        running_service(FakePlanner, config) as target,
        CuttingProxy(target) as proxy,
        client(proxy) as remote,
        ThreadPoolExecutor(1) as pool,
    ):
        events = pool.submit(lambda: list(remote.plan(TASK, source)))
        assert source.asked.wait(10)
        proxy.refuse = True
        proxy.cut()
        time.sleep(1.0)  # twice as long as the service waits
        source.go.set()
        proxy.refuse = False
        assert spoken(events.result(timeout=30)) == list(FakePlanner().plan(TASK, STILL))


def test_a_session_that_nobody_fetches_expires():
    gate = Gate()
    config = service_config(resume_window_s=0.3)
    with (
        running_service(lambda: gate, config) as target,
        RemotePlanner(target) as other,
        CuttingProxy(target) as proxy,
        client(proxy) as remote,
    ):
        events = remote.plan(TASK, STILL)
        next(events)
        proxy.refuse = True
        proxy.cut()
        # the planner was told to stop, and the seat is free
        assert gate.ended.acquire(timeout=30)
        wait_until(lambda: other.server_info().active_sessions == 0)
        with pytest.raises(PlanError) as raised:
            list(events)
        assert raised.value.code is ErrorCode.SERVER_UNAVAILABLE
        assert raised.value.retryable


def test_a_session_whose_time_has_passed_is_a_clear_error():
    gate = Gate()
    with running_service(lambda: gate) as target, CuttingProxy(target) as proxy, client(proxy) as remote:
        events = remote.plan(TASK, STILL)
        next(events)
        with running_service(FakePlanner) as restarted:
            proxy.target = restarted
            proxy.cut()
            with pytest.raises(PlanError, match="cannot go on where it was") as raised:
                list(events)
        assert raised.value.code is ErrorCode.SERVER_UNAVAILABLE
        assert raised.value.retryable


def test_a_goal_plans_anew_when_its_service_was_restarted():
    gate = Gate()
    limits = LIMITS.__class__(**{**LIMITS.__dict__, "reconnect_patience_s": 60.0})
    with running_service(lambda: gate) as target, CuttingProxy(target) as proxy, client(proxy) as remote:
        work = Work(remote, limits=limits, review=Review.NONE, closed_loop=False)
        assert gate.running.acquire(timeout=30)
        work.diary.wait(lambda: work.diary.feedback)
        with running_service(FakePlanner) as restarted:
            proxy.target = restarted
            proxy.cut()
            result = work.result()
        assert result.ending is Ending.COMPLETE
        assert [made.step.index for made in work.diary.made] == [0, 1, 2]
        assert work.diary.losses == [ErrorCode.SERVER_UNAVAILABLE]


def test_before_anything_has_come_a_restarted_service_gets_the_request_again():
    asked, answer = threading.Event(), threading.Event()

    class Slow:
        def newest(self, timeout_s=0.0):
            asked.set()
            assert answer.wait(30)
            return fake_observation()

    with running_service(FakePlanner) as target, CuttingProxy(target) as proxy, client(proxy) as remote:
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(remote.plan(TASK, Slow())))
        reader.start()
        assert asked.wait(30)
        with running_service(FakePlanner) as restarted:
            proxy.target = restarted
            proxy.cut()
            answer.set()
            reader.join(30)
            assert seen == list(FakePlanner().plan(TASK, STILL))


def test_an_observation_that_was_lost_is_asked_for_again():
    asked, answers = threading.Semaphore(0), threading.Semaphore(0)

    class Slow:
        def newest(self, timeout_s=0.0):
            asked.release()
            assert answers.acquire(timeout=30)
            return fake_observation()

    with running_service(FakePlanner) as target, CuttingProxy(target) as proxy, client(proxy) as remote:
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(remote.plan(TASK, Slow())))
        reader.start()
        assert asked.acquire(timeout=30)
        proxy.cut()
        assert asked.acquire(timeout=30)
        answers.release(2)
        reader.join(30)
        assert seen == list(FakePlanner().plan(TASK, STILL))


def test_a_link_that_falls_silent_is_given_up_for_another_connection():
    gate = Gate()
    with (
        running_service(lambda: gate) as target,
        CuttingProxy(target) as proxy,
        client(proxy, ping_after_s=0.2) as remote,
    ):
        losses = []
        remote.link_lost = losses.append
        events = remote.plan(TASK, STILL)
        seen = [next(events)]
        proxy.silence()
        gate.go.set()
        seen += list(events)
    assert seen == list(FakePlanner().plan(TASK, STILL))
    assert "silent" in losses[0].message


def test_false_alarms_do_no_harm():
    """So little patience that a link which is well is often given up."""
    gate, losses = Gate(), []
    planner = Counted(gate)
    with (
        running_service(lambda: planner) as target,
        CuttingProxy(target) as proxy,
        client(proxy, ping_after_s=0.0003) as hasty,
        client(proxy) as calm,
    ):
        hasty.link_lost = losses.append
        events = hasty.plan(TASK, STILL)
        seen = [next(events)]
        # it looks for a sign of life in here
        threading.Timer(0.5, gate.go.set).start()
        seen += list(events)
        assert seen == list(FakePlanner().plan(TASK, STILL))
        assert planner.plans == 1
        assert losses
        assert spoken(calm.plan(TASK, STILL)) == seen


def test_a_stop_while_the_link_is_away_is_heard_when_it_is_back():
    gate, stop = Gate(), Stop()
    with (
        running_service(lambda: gate) as target,
        CuttingProxy(target) as proxy,
        client(proxy, interrupt_grace_s=20.0) as remote,
    ):
        events = remote.plan(TASK, STILL, stop=stop)
        next(events)
        proxy.refuse = True
        proxy.cut()
        stop.request()
        proxy.refuse = False
        assert list(events)[-1] == PlanComplete(FinishReason.INTERRUPTED)
        assert gate.ended.acquire(timeout=30)
        wait_until(lambda: remote.server_info().active_sessions == 0)


@pytest.mark.parametrize(
    ("client_s", "service_s"), [(0.0, 15.0), (20.0, 0.0)], ids=["the client", "the service"]
)
def test_who_does_not_want_to_resume_hears_at_once(client_s, service_s):
    gate = Gate()
    with (
        running_service(lambda: gate, service_config(resume_window_s=service_s)) as target,
        CuttingProxy(target) as proxy,
        client(proxy, resume_patience_s=client_s) as remote,
    ):
        events = remote.plan(TASK, STILL)
        next(events)
        proxy.cut()
        with pytest.raises(PlanError) as raised:
            list(events)
        assert raised.value.code is ErrorCode.SERVER_UNAVAILABLE
        # nothing is kept for it
        assert gate.ended.acquire(timeout=30)


def test_a_closed_client_does_not_come_back():
    gate = Gate()
    with running_service(lambda: gate) as target, CuttingProxy(target) as proxy, client(proxy) as remote:
        events = remote.plan(TASK, STILL)
        next(events)
        remote.close()
        with pytest.raises(PlanError) as raised:
            list(events)
        assert raised.value.code is ErrorCode.SERVER_UNAVAILABLE
        assert gate.ended.acquire(timeout=30)


class Paced:
    """A planner that goes on when its last step has been read, as a slow model does."""

    def __init__(self, inner):
        self.inner, self.read = inner, threading.Semaphore(0)

    def plan(self, task, frames, history=(), *, stop=None):
        for event in self.inner.plan(task, frames, history, stop=stop):
            yield event
            if isinstance(event, StepComplete):
                assert self.read.acquire(timeout=30)


def test_a_long_plan_needs_little_memory_because_what_has_arrived_is_not_kept():
    planner = Paced(FakePlanner(steps=30))
    expected = list(planner.inner.plan(TASK, STILL))
    config, seen = service_config(resume_bytes=20_000), []
    with (
        running_service(lambda: planner, config) as target,
        CuttingProxy(target) as proxy,
        client(proxy) as remote,
    ):
        for event in remote.plan(TASK, STILL):
            seen.append(event)
            if isinstance(event, StepComplete):
                if event.step.index in (5, 20):
                    proxy.cut()
                planner.read.release()
        assert proxy.broken == 2
    assert seen == expected
    pictures = [event.step.keyframe.rgb for event in seen if isinstance(event, StepComplete)]
    assert sum(picture.nbytes for picture in pictures) > 2 * config.resume_bytes


class Remembering:
    """A planner that knows which of its pictures are still in somebody's memory."""

    def __init__(self, inner):
        self.inner, self.pictures = inner, []

    def plan(self, task, frames, history=(), *, stop=None):
        self.pictures += [weakref.ref(past.step.keyframe.rgb) for past in history]
        for event in self.inner.plan(task, frames, history, stop=stop):
            if isinstance(event, StepComplete):
                self.pictures.append(weakref.ref(event.step.keyframe.rgb))
            yield event
            del event


def test_a_session_that_is_over_gives_its_pictures_back_without_a_garbage_collection():
    planner = Remembering(FakePlanner(steps=6))
    done = [event.step for event in FakePlanner(steps=3).plan(TASK, STILL) if isinstance(event, StepComplete)]
    history = [StepOutcome(step, Outcome.SUCCEEDED) for step in done]
    gc.disable()
    try:
        with running_service(lambda: planner, service_config()) as target:
            with RemotePlanner(target, ClientConfig(images=PNG)) as remote:
                steps = [
                    event for event in remote.plan(TASK, STILL, history) if isinstance(event, StepComplete)
                ]
            assert (len(steps), len(planner.pictures)) == (6, 3 + 6)
            wait_until(lambda: not any(picture() is not None for picture in planner.pictures))
    finally:
        gc.enable()
