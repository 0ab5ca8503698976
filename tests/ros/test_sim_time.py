"""use_sim_time: /clock begins, runs, leaps forward and back while a goal is in work; real DDS."""

import threading
import time

import pytest

pytest.importorskip("emu_planner_msgs")

from diagnostic_msgs.msg import DiagnosticArray
from emu_planner_msgs.msg import Subgoal
from emu_planner_msgs.srv import ReportOutcome
from rosgraph_msgs.msg import Clock

from emu_planner.ros.convert import s_to_time, time_to_s
from tests.ros.rig import OK, Rig, next_in, running_rig
from tests.ros.scripted import numbered
from tests.ros.test_topics import LOSSY

pytestmark = pytest.mark.ros
VALIDITY_S = 20.0
STARTED, SUCCEEDED = ReportOutcome.Request.STARTED, ReportOutcome.Request.SUCCEEDED


class Simulation:
    """Publishes /clock, and a camera that stamps by it, in a thread of the rig."""

    def __init__(self, rig: Rig) -> None:
        self._rig, self._lock = rig, threading.Lock()
        self._clock = rig.node.create_publisher(Clock, "/clock", 10)
        self.stamps: dict[int, float] = {}  # by the number in the picture
        self._now_s, self._then_s = 0.0, time.monotonic()

    def start(self, now_s: float) -> None:
        self.leap(now_s)
        self._rig._thread(self._work)

    def leap(self, now_s: float) -> None:
        with self._lock:
            self._now_s, self._then_s = now_s, time.monotonic()

    def now_s(self) -> float:
        with self._lock:
            return self._now_s + time.monotonic() - self._then_s

    def _work(self) -> None:
        while not self._rig._stopping.wait(0.02):
            now_s = self.now_s()
            self._clock.publish(Clock(clock=s_to_time(now_s)))
            number = len(self.stamps) + 1
            self.stamps[number] = now_s
            self._rig.publish(numbered(number, "cam", now_s))


def test_a_goal_outlives_leaps_of_the_clock_and_obeys_it():
    with running_rig() as rig:
        simulation = Simulation(rig)
        rig.start_node("tests.ros.scripted", use_sim_time=True, subgoal_validity=VALIDITY_S, max_failures=9)
        # before the first /clock: the node is heard all the same
        beat = rig.listen(DiagnosticArray, "/diagnostics", LOSSY)
        assert time_to_s(beat.get(timeout=30.0).header.stamp) == 0.0
        simulation.start(1000.0)
        # and once it knows the time
        next_in(beat, lambda message: time_to_s(message.header.stamp) >= 1000.0)
        active = rig.listen_active()
        run = rig.goal("look twice", closed_loop=True)
        epochs = []

        def next_with(state: int) -> Subgoal:
            subgoal = next_in(active, lambda s: s.state == state)
            epochs.append(subgoal.epoch)
            return subgoal

        def planned_in(low_s: float, high_s: float) -> Subgoal:
            """The next step on offer: picture, stamps and validity are of this time."""
            step = next_with(Subgoal.STATE_APPROVED)
            assert low_s <= simulation.stamps[int(step.instruction)] < high_s
            assert low_s <= time_to_s(step.header.stamp) < high_s
            assert low_s <= time_to_s(step.generated_at) < high_s
            assert 0.0 <= time_to_s(step.valid_until) - time_to_s(step.generated_at) - VALIDITY_S < 10.0
            return step

        first = planned_in(1000.0, 2000.0)
        simulation.leap(5000.0)
        next_with(Subgoal.STATE_EXPIRED)
        assert not rig.report(first, STARTED).success
        planned_in(5000.0, 6000.0)
        simulation.leap(100.0)
        assert "the clock went back" in next_with(Subgoal.STATE_EXPIRED).outcome_detail
        third = planned_in(100.0, 1000.0)
        assert rig.report(third, STARTED).success
        assert rig.report(third, SUCCEEDED).success
        fourth = planned_in(100.0, 1000.0)
        assert rig.report(fourth, STARTED).success
        # under a robot that moves: the outcome counts
        simulation.leap(10.0)
        assert rig.report(fourth, SUCCEEDED).success
        status, result = run.result()
        assert (status, result.plan.finish_reason) == (OK, "stop")
        assert epochs == sorted(epochs)
        assert len(set(epochs)) == len(epochs)
