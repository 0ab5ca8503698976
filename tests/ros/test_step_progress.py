"""A step watched while it is carried out: cameras, node, service and executor over DDS and gRPC."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("emu_planner_msgs")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import StepProgress, Subgoal
from emu_planner_msgs.srv import ReportOutcome

from emu_planner.executor.rules import SubgoalRules
from emu_planner.plan import Frame
from emu_planner.ros.outputs import ALL
from tests.ros.rig import OK, Rig, free_port, next_in, running_rig, until
from tests.ros.scripted import with_block

pytestmark = pytest.mark.ros
STARTED, SUCCEEDED = ReportOutcome.Request.STARTED, ReportOutcome.Request.SUCCEEDED
# a camera of another size than the keyframe's part of a picture would do as well: test_watch.py
EMPTY = np.full((96, 96, 3), 120, np.uint8)
DONE, ELSEWHERE = with_block(EMPTY, 8, 8), with_block(EMPTY, 60, 60)


class Table:
    """What the camera sees; a number in a corner changes with each picture, as no camera is still."""

    def __init__(self, rig: Rig) -> None:
        self.rgb = EMPTY
        self._rig, self._number, self._over = rig, 0, threading.Event()

    def publish(self) -> None:
        while not self._over.wait(1 / 30):
            self._number += 1
            rgb = self.rgb.copy()
            rgb[95, 95] += np.uint8(self._number % 8)
            self._rig.publish(Frame(rgb, "cam", time.time()))

    @contextmanager
    def seen(self) -> Iterator["Table"]:
        thread = threading.Thread(target=self.publish, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(5.0)


@contextmanager
def watching(**params: object) -> Iterator[tuple[Rig, Table]]:
    """A node that looks often, at a table that is empty."""
    with running_rig() as rig:
        port = free_port()
        rig.start_service(port)
        with Table(rig).seen() as table:
            rig.start_node(server=f"127.0.0.1:{port}", progress_period=0.1, camera_dark_level=0.0, **params)
            yield rig, table


def offered(message: Subgoal) -> bool:
    return message.state == Subgoal.STATE_APPROVED


def test_a_step_that_looks_done_is_told_and_goes_on_until_its_executor_says_so():
    with watching() as (rig, table):
        active, told = rig.listen_active(), rig.listen(StepProgress, "planner/step_progress", ALL)
        monitor = rig.listen(DiagnosticArray, "/diagnostics", ALL)
        run = rig.goal("foresee a block", closed_loop=True, max_subgoals=1)
        subgoal = next_in(active, offered)
        assert told.empty(), "nobody has started it"
        assert rig.report(subgoal, STARTED).success
        before = next_in(told, lambda p: not p.reason)
        assert (before.verdict, before.score) == (StepProgress.VERDICT_UNKNOWN, 0.0)
        table.rgb = DONE
        reached = next_in(told, lambda p: p.verdict == StepProgress.VERDICT_REACHED)
        assert (reached.plan_id, reached.epoch, reached.index) == (run.plan_id, subgoal.epoch, 0)
        assert reached.score > 0.9
        assert reached.strange == 0.0
        assert reached.header.stamp.sec >= subgoal.header.stamp.sec
        step = lambda: next(s for s in monitor.get(timeout=10.0).status if s.name == "planner: step")  # noqa: E731
        until(lambda: step().message == "reached", "diagnostics of a reached step")
        table.rgb = ELSEWHERE
        drifting = next_in(told, lambda p: p.drifting_looks > 10)
        assert (drifting.verdict, drifting.epoch) == (StepProgress.VERDICT_DRIFTING, subgoal.epoch)
        until(lambda: step().level == DiagnosticStatus.WARN, "diagnostics of a drifting step")
        assert rig.report(subgoal, SUCCEEDED).success, "neither reached nor drift ended it"
        assert run.result()[0] == OK
        until(lambda: step().message == "none is watched", "diagnostics without a step")


def test_a_step_that_drifts_is_taken_back_and_planned_again():
    with watching(replan_on_drift=True, drift_patience=3) as (rig, table):
        active, told = rig.listen_active(), rig.listen(StepProgress, "planner/step_progress", ALL)
        rules = SubgoalRules()
        run = rig.goal("foresee a block", closed_loop=True)
        first = next_in(active, offered)
        rules.see(first)
        assert rules.judge(first, 0.0) is None
        assert rig.report(first, STARTED).success
        table.rgb = ELSEWHERE
        # what is covered is unknown and takes nothing back; only what stays strange does
        last = next_in(told, lambda p: p.drifting_looks == 3)
        expired, second = next_in(active, lambda s: s.epoch > first.epoch), next_in(active, offered)
        assert (expired.state, expired.index) == (Subgoal.STATE_EXPIRED, first.index)
        assert "drifted" in expired.outcome_detail
        assert first.epoch < expired.epoch < second.epoch
        assert second.plan_id == run.plan_id
        # planned from a picture after the last look
        assert stamp_of(second) > stamp_of(last)
        # an executor that keeps the rules stops, and neither it nor the planner goes back
        rules.see(expired)
        assert rules.interruption(first).code == 10101
        assert rules.judge(first, 0.0) is not None
        refused = rig.report(first, SUCCEEDED)
        assert (refused.success, refused.epoch) == (False, second.epoch)
        # the new step foresees the table as it is now
        assert rig.report(second, STARTED).success
        fresh = next_in(told, lambda p: p.epoch == second.epoch and not math.isnan(p.score))
        assert (fresh.verdict, fresh.drifting_looks) == (StepProgress.VERDICT_UNKNOWN, 0)
        table.rgb = with_block(ELSEWHERE, 8, 8)
        next_in(told, lambda p: p.verdict == StepProgress.VERDICT_REACHED)
        assert rig.report(second, SUCCEEDED).success
        run.cancel()
        _, result = run.result()
        states = [s.state for s in result.plan.subgoals[:1]]
        assert states == [Subgoal.STATE_SUCCEEDED]
        assert result.error_code == PlanTask.Result.NONE


def stamp_of(message: Subgoal | StepProgress) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec / 1e9
