"""`emu-planner bench load` at a small size: a real service in a process, real clients, and what it counts."""

import json

import numpy as np
import pytest

from emu_planner.cli.bench_load import percentiles
from emu_planner.cli.bench_load_clients import Asked, RawSession, robot_view
from emu_planner.cli.bench_load_overhead import _split, share
from emu_planner.cli.bench_load_server import Sample
from emu_planner.cli.bench_load_soak import judge, rise
from emu_planner.cli.paced_service import PacedPlanner, imagined
from emu_planner.plan import ErrorCode, FinishReason, Generation, PlanError, Still, Stop, Task, collect
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire.client import RemotePlanner
from tests.cli.runs import run_cli

TASK = Task("stack the blocks", Generation(seed=1))


@pytest.mark.slow
def test_past_the_limit_robots_are_refused_and_everybody_else_plans(tmp_path):
    limits = ("--streams", "6", "--max-sessions", "2", "--max-plans", "2", "--processes", "2")
    odd = (
        "--slow",
        "1",
        "--gone",
        "1",
        "--stopped",
        "0",
        "--pairs",
        "1",
        "--soak",
        "0.01",
        "--soak-pause",
        "0.1",
    )
    done = run_cli(
        "bench", "load", "--seconds", "1", "--token-ms", "3", *limits, *odd, "--out", str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "load.json").read_text())
    _, crowd, beside_slow = found["cases"]
    assert crowd["plans"] > 0
    assert crowd["first_subgoal"]["count"] == crowd["plans"]
    assert crowd["step"]["count"] == 2 * crowd["plans"]
    # six robots, two sessions
    assert crowd["rejected"] > 0
    assert beside_slow["plans"] > 0
    assert beside_slow["slowly_read"] > 0
    assert all(case["errors"] == {} for case in found["cases"])
    assert crowd["server"]["memory_mb"] > 10
    assert found["gone"]["killed"]["freed_s"] is not None
    assert all(plan["ratio"] > 1 for plan in found["overhead"]["plans"])
    assert set(found["overhead"]["wall_ms"]) == {"plan", "frame", "step", "words"}
    assert (found["soak"]["killed"], found["soak"]["robots"], found["soak"]["pause_s"]) == (1, 4, 0.1)
    # one look before it, one after its round
    assert len(found["soak"]["idle"]) == 2
    assert found["soak"]["flat"] is None
    assert found["left_open"] == 0
    text = " ".join(done.stdout.split())
    for words in (
        "refused",
        "peers killed in a plan",
        "add to a direct call",
        "soak of 0.01 minutes",
        "idle after 0 minutes",
    ):
        assert words in text


def test_a_full_service_says_how_long_to_wait():
    config = ServiceConfig(address="127.0.0.1:0", max_sessions=1, retry_after_s=3.5, drain_timeout_s=0.0)
    with running_service(PacedPlanner, config) as target, RemotePlanner(target) as remote:
        remote.wait_ready(30)
        with RawSession(target, Asked(width=16, height=16)) as taken:
            assert next(taken.read()) == "opened"
            with pytest.raises(PlanError) as raised:
                list(remote.plan(TASK, Still(Asked(width=16, height=16).view())))
    assert raised.value.code is ErrorCode.RESOURCE_EXHAUSTED
    assert raised.value.retry_after_s == 3.5


def test_a_paced_plan_is_the_same_over_the_wire():
    planner, frames = PacedPlanner(steps=2), Still(Asked(width=64, height=48).view())
    direct = collect(TASK.instruction, planner.plan(TASK, frames))
    # its keyframes are of the pictures, which JPEG changes
    with running_service(lambda: planner) as target, RemotePlanner(target) as remote:
        remote.wait_ready(30)
        over_wire = collect(TASK.instruction, remote.plan(TASK, frames))
    for report in (direct, over_wire):
        assert [step.subgoal for step in report.steps] == [direct.steps[0].subgoal] * 2
        assert [step.keyframe.rgb.shape for step in report.steps] == [(48, 128, 3)] * 2
    assert direct.steps[1].keyframe == imagined(Asked(width=64, height=48).view(), 1)


def test_a_paced_plan_stops():
    stop = Stop()
    events = PacedPlanner().plan(TASK, Still(robot_view(("camera",), 16, 16)), stop=stop)
    next(events)
    stop.request()
    assert [event.reason for event in events] == [FinishReason.INTERRUPTED]


def test_the_way_is_compared_with_a_step_as_one_robot_sees_it():
    assert share({"wall_ms": {"step": 5.0}}, 50.0).endswith(
        "(50 ms, one robot) that is 10.0%: 1.11 times a direct call"
    )


def test_percentiles_are_values_that_came():
    assert percentiles([]) is None
    assert percentiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p99": 3.0, "max": 3.0, "count": 3}
    hundred = percentiles([float(n) for n in range(1, 101)])
    assert (hundred["p50"], hundred["p99"]) == (50.0, 99.0)


def test_the_overhead_is_split_as_it_was_put_together():
    plan, frame, step, words = 5.0, 2.0, 3.0, 1.0
    of = {(s, f, True): plan + f * frame + s * step for s, f in ((1, 1), (9, 1), (1, 4))}
    of |= {(s, 1, False): plan + frame + s * words for s in (1, 9)}
    assert _split(of) == pytest.approx({"plan": plan, "frame": frame, "step": step, "words": words})


@pytest.mark.parametrize(
    ("growth", "flat"),
    [
        ({}, True),
        # 1 MB a round on 100: 30 MB after the warm-up
        ({"memory_mb": 1.0}, False),
        ({"threads": 1}, False),
        ({"files": 1}, False),
    ],
)
def test_a_soak_that_leaks_is_not_flat(growth, flat):
    start = {"memory_mb": 100.0, "threads": 20, "files": 15}
    idle = [
        Sample(30.0 * n, 0.0, **{name: value + growth.get(name, 0) * n for name, value in start.items()})
        for n in range(40)
    ]
    found = judge(idle)
    assert found["flat"] is flat
    for name in start:
        # 120 rounds an hour, and nothing besides a line
        assert found["an_hour"][name] == pytest.approx([120 * growth.get(name, 0.0), 0.0], abs=1e-6)


def test_a_slope_has_an_interval_that_holds_the_true_one():
    rng, hours = np.random.default_rng(0), [n / 100 for n in range(100)]
    found = [
        rise(hours, [3.0 * hour + noise for hour, noise in zip(hours, rng.normal(size=100), strict=True)])
        for _ in range(200)
    ]
    held = sum(abs(slope - 3.0) <= half for slope, half in found)
    # 95% of them, give or take three deviations
    assert 180 <= held <= 199
    assert rise(hours[:19], [0.0] * 19) is None


def test_what_fills_up_in_the_warm_up_is_not_held_against_a_service():
    idle = [Sample(30.0 * n, 0.0, 50.0 if n < 3 else 100.0, 10 if n < 3 else 20, 15) for n in range(20)]
    assert judge(idle)["flat"]
