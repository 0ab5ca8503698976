"""The guard of the whole: one FakePlanner gives equal Reports directly, over gRPC and through ROS."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner.plan import (
    FinishReason,
    Generation,
    Observation,
    Report,
    Still,
    Task,
    collect,
)
from emu_planner.ros.convert import result_to_report
from emu_planner.service.server import running_service
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.images import Encoding, ImageConfig
from tests.ros.rig import Rig, free_port, running_rig, until
from tests.ros.scripted import ScriptedPlanner, numbered

pytestmark = pytest.mark.ros
SEED = 2**63 + 11
# not exact in binary, and today: a stamp that loses a digit anywhere changes every step
STAMP_S = 1_763_793_000.123456789
CAMERAS = ("front", "side")
LOSSLESS = ClientConfig(images=ImageConfig(Encoding.PNG))


def frames() -> tuple:
    noise = np.random.default_rng(3)
    blank = [numbered(0, name, STAMP_S + 0.01 * place) for place, name in enumerate(CAMERAS)]
    return tuple(replace(f, rgb=noise.integers(0, 256, f.rgb.shape, dtype=np.uint8)) for f in blank)


def task(instruction: str, limit: int) -> Task:
    return Task(instruction, Generation(max_subgoals=limit, seed=SEED))


def directly(instruction: str, limit: int) -> Report:
    source = Still(Observation(frames(), 1))
    return collect(instruction, ScriptedPlanner().plan(task(instruction, limit), source))


def over_grpc(instruction: str, limit: int) -> Report:
    source = Still(Observation(frames(), 1))
    with running_service(ScriptedPlanner) as target, RemotePlanner(target, LOSSLESS) as planner:
        return collect(instruction, planner.plan(task(instruction, limit), source))


def through_ros(rig: Rig, instruction: str, limit: int) -> Report:
    heard = rig.listen_keyframes()
    run = rig.goal(instruction, max_subgoals=limit, seed=SEED)

    def send_frames() -> bool:
        for frame in frames():
            rig.publish(frame)
        time.sleep(0.02)
        return run._future.done()

    until(send_frames, "the plan")
    _, result = run.result()
    count = sum(subgoal.has_keyframe for subgoal in result.plan.subgoals)
    return result_to_report(result, [heard.get(timeout=10.0) for _ in range(count)])


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_rig() as rig:
        port = free_port()
        rig.start_service(port)
        rig.start_node(server=f"127.0.0.1:{port}", cameras=list(CAMERAS))
        yield rig


@pytest.mark.parametrize(
    ("instruction", "limit", "reason"),
    [
        ("put the red block into the bowl", 20, FinishReason.STOP.value),
        ("stack the blocks, caf\u00e9 \u2603", 2, FinishReason.LENGTH.value),
        ("plan badly", 20, "error"),
    ],
)
def test_one_report(rig: Rig, instruction: str, limit: int, reason: str):
    direct = directly(instruction, limit)
    assert direct.reason == reason
    assert direct.steps
    assert all(step.keyframe is not None for step in direct.steps)
    assert over_grpc(instruction, limit) == direct
    assert through_ros(rig, instruction, limit) == in_single_precision(direct)


def in_single_precision(report: Report) -> Report:
    """The one loss of the ROS way: Subgoal.confidence is a float32."""
    return replace(
        report,
        steps=tuple(replace(s, confidence=float(np.float32(s.confidence))) for s in report.steps),
    )


def test_a_different_pixel_makes_a_different_report():
    first, *others = frames()
    first.rgb[0, 0, 0] ^= 1
    changed = collect(
        "look closely",
        ScriptedPlanner().plan(task("go", 20), Still(Observation((first, *others), 1))),
    )
    assert changed.steps != directly("go", 20).steps
