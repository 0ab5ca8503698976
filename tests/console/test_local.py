"""A robot in this process: review rules, hold, who decided; and the hub that shows and records it."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emu_planner.console.hub import Hub
from emu_planner.console.local import LocalLimits, LocalRobot
from emu_planner.console.record import SessionRecorder, list_sessions, read_session
from emu_planner.console.robot import Decision, Ending, Phase, Refused, Snapshot, StepState
from emu_planner.goal.feed import CameraFeed
from emu_planner.plan import ErrorCode, Frame, PlanError
from tests.fakes import FakePlanner

PATIENCE_S = 20.0


class Hands:
    """A body that waits to be told that it is done."""

    def __init__(self) -> None:
        self.doing: list[str] = []
        self.outcomes: list[tuple[bool, str]] = []
        self.finish = threading.Semaphore(0)
        self.stopped = threading.Event()
        self.stops = 0

    def carry_out(self, words: str, withdrawn: Callable[[], bool]) -> tuple[bool, str]:
        self.doing.append(words)
        while not self.finish.acquire(timeout=0.01):
            if withdrawn():
                self.stops += 1
                self.stopped.set()
                return False, "taken back"
        return self.outcomes.pop(0) if self.outcomes else (True, "")


class Bench:
    """A robot, its hands and its camera."""

    def __init__(self, planner=None, *, frames: bool = True, **limits) -> None:
        self.hands, self.feed = Hands(), CameraFeed(("front", "side"))
        if frames:
            self.see(50)
        limits = {"observation_max_age_s": 600.0, "observation_timeout_s": 0.2, **limits}
        self.robot = LocalRobot(
            planner or FakePlanner(),
            self.feed,
            self.hands,
            robot="BENCH",
            planner_name="a fake",
            limits=LocalLimits(**limits),
        )

    def see(self, level: int, stamp_s: float = 1.0) -> None:
        for camera in self.feed.cameras:
            self.feed.put(Frame(np.full((8, 8, 3), level, np.uint8), camera, stamp_s))

    def until(self, condition: Callable[[Snapshot], object]) -> Snapshot:
        deadline = time.monotonic() + PATIENCE_S
        while not condition(snapshot := self.robot.snapshot()):
            assert time.monotonic() < deadline, f"waited in vain: {snapshot}"
            time.sleep(0.005)
        return snapshot

    def pending(self):
        return self.until(lambda s: s.pending).pending

    def decide(self, decision: Decision, text: str = "", who: str = "Anna") -> None:
        step = self.pending()
        self.robot.review(step.index, step.epoch, decision, text, who)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.robot.close()


def test_an_approved_step_is_carried_out_and_the_next_is_planned(bench: Bench):
    bench.robot.plan("tidy up", "Anna")
    first = bench.pending()
    assert bench.hands.doing == [], "nothing moves before somebody decided"
    assert [name for name, _ in first.before] == ["front", "side"]
    assert first.keyframe
    bench.decide(Decision.APPROVE)
    bench.until(lambda s: s.steps[0].state is StepState.ACTIVE)
    assert bench.hands.doing == [first.words]
    bench.see(90, stamp_s=9.0)
    bench.hands.finish.release()
    now = bench.until(lambda s: s.steps[0].state is StepState.SUCCEEDED)
    assert (now.steps[0].decided_by, now.steps[0].decision) == ("Anna", "approve")
    bench.see(120, stamp_s=20.0)
    assert bench.pending().index == 1


def test_an_edit_is_what_the_hands_do_and_both_words_are_kept(bench: Bench):
    bench.robot.plan("tidy up", "Anna")
    planned = bench.pending().words
    bench.decide(Decision.EDIT, "wave", "Ben")
    step = bench.until(lambda s: s.steps[0].state is StepState.ACTIVE).steps[0]
    assert (step.words, step.original, step.decided_by) == ("wave", planned, "Ben")
    assert bench.hands.doing == ["wave"]
    assert step.keyframe, "the picture stays"


def test_a_decision_about_what_has_changed_since_is_refused_with_who_was_faster(bench: Bench):
    bench.robot.plan("tidy up", "Anna")
    seen = bench.pending()
    bench.decide(Decision.EDIT, "wave", "Anna")
    with pytest.raises(Refused, match="Anna was faster"):
        bench.robot.review(seen.index, seen.epoch, Decision.APPROVE, "", "Ben")
    assert [note.who for note in bench.robot.snapshot().journal] == ["Anna", "Anna"]


@pytest.mark.parametrize(("step", "epoch"), [(0, 999), (7, 1), (-1, -1)])
def test_a_decision_about_nothing_is_refused(bench: Bench, step: int, epoch: int):
    with pytest.raises(Refused, match="no plan"):
        bench.robot.review(step, epoch, Decision.APPROVE, "", "Anna")
    bench.robot.plan("tidy up", "Anna")
    bench.pending()
    with pytest.raises(Refused, match="Not done"):
        bench.robot.review(step, epoch, Decision.APPROVE, "", "Anna")
    assert bench.pending().index == 0


def test_regenerate_forgets_who_decided_about_the_step_before(bench: Bench):
    bench.robot.plan("tidy up", "Anna")
    first = bench.pending()
    bench.decide(Decision.REGENERATE)
    second = bench.until(lambda s: s.pending and s.pending.epoch > first.epoch).pending
    assert second.index == 0
    assert second.words != first.words
    assert second.decided_by == ""
    assert second.keyframe != first.keyframe
    assert "asked again" in bench.robot.snapshot().journal[-1].what


def test_hold_stops_the_hands_and_latches(bench: Bench):
    bench.robot.plan("tidy up", "Anna")
    bench.decide(Decision.APPROVE)
    bench.until(lambda s: s.steps[0].state is StepState.ACTIVE)
    bench.robot.hold("Ben")
    assert bench.hands.stopped.wait(PATIENCE_S)
    now = bench.until(lambda s: s.ending)
    assert (now.ending, now.held_by) == (Ending.HELD, "Ben")
    assert now.steps[0].state is StepState.EXPIRED
    with pytest.raises(Refused, match="Re-arm it first"):
        bench.robot.plan("tidy up", "Anna")
    bench.robot.rearm("Anna")
    with pytest.raises(Refused, match="no hold"):
        bench.robot.rearm("Anna")
    bench.robot.plan("tidy up", "Anna")
    assert bench.pending().index == 0


def test_an_approved_step_that_a_hold_overtakes_is_not_carried_out(bench: Bench):
    for _ in range(20):
        bench.robot.plan("tidy up", "Anna")
        step = bench.pending()
        holder = threading.Thread(target=bench.robot.hold, args=("Ben",))
        holder.start()
        with contextlib.suppress(Refused):
            bench.robot.review(step.index, step.epoch, Decision.APPROVE, "", "Anna")
        holder.join()
        now = bench.until(lambda s: s.ending is Ending.HELD)
        assert now.steps[0].state not in (StepState.ACTIVE, StepState.SUCCEEDED)
        bench.robot.rearm("Ben")
    # what had begun was stopped each time
    bench.until(lambda _: bench.hands.stops == len(bench.hands.doing))


def test_stop_and_reject_end_the_plan_and_say_who(bench: Bench):
    bench.robot.plan("tidy up", "Anna")
    bench.pending()
    with pytest.raises(Refused, match="in work"):
        bench.robot.plan("something else", "Ben")
    bench.robot.stop("Ben")
    assert "Ben" in bench.until(lambda s: s.ending is Ending.CANCELED).message
    with pytest.raises(Refused, match="no plan to stop"):
        bench.robot.stop("Ben")
    bench.robot.plan("tidy up", "Anna")
    bench.decide(Decision.REJECT, who="Ben")
    now = bench.until(lambda s: s.ending is Ending.REVIEW_REJECTED)
    assert now.steps[0].decided_by == "Ben"


def test_what_the_hands_say_is_shown(bench: Bench):
    bench.hands.outcomes.append((False, "it slipped"))
    bench.robot.plan("tidy up", "Anna")
    bench.decide(Decision.APPROVE)
    bench.hands.finish.release()
    step = bench.until(lambda s: s.steps and s.steps[0].state is StepState.FAILED).steps[0]
    assert step.detail == "it slipped"


def test_words_come_one_by_one_and_then_the_share_of_the_picture():
    bench = Bench(FakePlanner(token_delay_s=0.1, keyframe_tokens=6))
    seen: list[Snapshot] = []
    bench.robot.plan("tidy up", "Anna")
    bench.until(lambda s: seen.append(s) or s.pending)
    growing = [s.words for s in seen if s.phase is Phase.GENERATING_TEXT and s.words]
    assert len(set(growing)) > 1
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(growing))
    assert len({s.share for s in seen if s.phase is Phase.GENERATING_KEYFRAME}) > 1
    bench.robot.close()


def test_an_empty_sentence_and_a_planner_that_fails():
    error = PlanError(ErrorCode.INVALID_OUTPUT, "it wrote nonsense")
    bench = Bench(replace(FakePlanner(), fail_at=0, error=error))
    with pytest.raises(Refused, match="empty"):
        bench.robot.plan("   ", "Anna")
    bench.robot.plan("tidy up", "Anna")
    now = bench.until(lambda s: s.ending)
    assert (now.ending, now.message) == (Ending.FAILED, "it wrote nonsense")
    bench.robot.close()


def test_a_service_that_is_away_for_a_moment_is_asked_again():
    class Away:
        calls = 0

        def plan(self, *arguments, **more):
            self.calls += 1
            if self.calls == 1:
                raise PlanError(ErrorCode.SERVER_UNAVAILABLE, "nobody answers", retryable=True)
            return FakePlanner().plan(*arguments, **more)

    bench = Bench(Away())
    bench.robot.plan("tidy up", "Anna")
    assert bench.pending().index == 0
    assert bench.robot.snapshot().message == ""
    bench.robot.close()


def test_a_blind_robot_says_so_and_the_hub_refuses_for_it():
    bench = Bench(frames=False)
    hub = Hub(bench.robot)
    assert bench.until(lambda s: s.trouble).trouble == "no picture from camera front, side"
    with pytest.raises(Refused, match="no picture"):
        hub.plan("tidy up", "Anna")
    hub.hold("Anna")  # that is always tried
    assert bench.robot.snapshot().hold
    bench.see(50)
    bench.until(lambda s: not s.trouble)
    hub.close()


def test_the_hub_records_what_it_shows(tmp_path: Path):
    bench = Bench()
    hub = Hub(bench.robot, SessionRecorder(tmp_path), rate_hz=100.0)
    shown = []
    hub.plan("tidy up", "Anna")
    bench.pending()
    bench.see(70, stamp_s=5.0)
    bench.until(lambda _: hub.look().snapshot.pending)
    shown.append(hub.look().snapshot)
    hub.stop("Anna")
    bench.until(lambda _: hub.look().snapshot.ending)
    shown.append(hub.look().snapshot)
    key = hub.look().frames[0][1].key
    assert hub.picture(key) == hub.look().frames[0][1]
    assert hub.picture("nothing") is None
    hub.close()
    recorded = [m.look.snapshot for m in read_session(list_sessions(tmp_path)[0].folder)]
    assert all(snapshot in recorded for snapshot in shown)


def test_a_full_disk_takes_the_recording_not_the_page():
    class Full:
        def keep(self, look) -> None:
            raise OSError("no space left")

        def close(self) -> None:
            pass

    bench = Bench()
    hub = Hub(bench.robot, Full())
    hub.plan("tidy up", "Anna")
    bench.until(lambda _: hub.look().snapshot.pending)
    assert "no space left" in hub.recording_trouble
    hub.close()
