"""What wire and service add to a planner that takes no time, for a plan, a frame and a step.

The same planner is called in this process and through a service in another, in turns; medians of the
differences. Plans of 1 and of 9 steps tell what a step adds, plans from 1 and from 4 pictures what one adds.
"""

import statistics
import time
from typing import Any

from rich.console import Console

from emu_planner.cli.bench_load_clients import robot_view
from emu_planner.cli.bench_load_server import Served, Server
from emu_planner.cli.processes import Children
from emu_planner.plan import Generation, Planner, Still, Task
from emu_planner.wire.client import RemotePlanner

_STEPS, _FRAMES = (1, 9), (1, 4)
_WIDTH, _HEIGHT = 640, 480


def measure(pairs: int, children: Children, console: Console) -> dict[str, Any]:
    """Milliseconds of wall time and of the server's CPU, medians over `pairs` plans of each kind."""
    # not above: other benchmarks run without what a service needs
    from emu_planner.cli.paced_service import PacedPlanner

    console.print("overhead beside a direct call ...", highlight=False)
    server = Server("overhead service", Served(None, 4, 1, 0.0), children, console)
    direct = PacedPlanner()
    kinds = [(_STEPS[0], _FRAMES[0], True), (_STEPS[1], _FRAMES[0], True), (_STEPS[0], _FRAMES[1], True)]
    kinds += [(steps, _FRAMES[0], False) for steps in _STEPS]
    added: dict[tuple[int, int, bool], list[float]] = {kind: [] for kind in kinds}
    alone: dict[tuple[int, int, bool], list[float]] = {kind: [] for kind in kinds}
    cpu: dict[tuple[int, int, bool], float] = dict.fromkeys(kinds, 0.0)
    with RemotePlanner(server.target) as remote:
        for kind in kinds:
            _time_plan(remote, *kind)
        for _ in range(pairs):
            for kind in kinds:
                own_ms = _time_plan(direct, *kind)
                alone[kind].append(own_ms)
                before = server.look().cpu_s
                added[kind].append(_time_plan(remote, *kind) - own_ms)
                cpu[kind] += server.look().cpu_s - before
    wall = {kind: statistics.median(values) for kind, values in added.items()}
    own = {kind: statistics.median(values) for kind, values in alone.items()}
    mean_cpu = {kind: 1e3 * spent_s / pairs for kind, spent_s in cpu.items()}
    return {
        "pairs": pairs,
        "picture": [_WIDTH, _HEIGHT],
        "events_a_step": _events(direct),
        "wall_ms": _split(wall),
        "plans": [
            {"steps": steps, "frames": frames, "keyframes": keyframes}
            | {"direct_ms": own[kind], "through_ms": own[kind] + wall[kind]}
            | {"ratio": (own[kind] + wall[kind]) / own[kind]}
            for kind in kinds
            for steps, frames, keyframes in (kind,)
        ],
        "server_cpu_ms": _split(mean_cpu),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    if not found:
        return []
    wall, cpu = found["wall_ms"], found["server_cpu_ms"]
    width, height = found["picture"]
    return [
        f"wire and service add to a direct call, ms (of the server's CPU): "
        f"a plan {wall['plan']:.1f} ({cpu['plan']:.1f}); "
        f"a {width}x{height} frame as JPEG {wall['frame']:.1f} ({cpu['frame']:.1f}); "
        f"a step of {found['events_a_step']} events {wall['step']:.1f} ({cpu['step']:.1f}), "
        f"without its keyframe {wall['words']:.1f} ({cpu['words']:.1f}); "
        f"medians (CPU: means) of {found['pairs']}",
        *(
            f"a planner that takes no time, {plan['steps']} steps{'' if plan['keyframes'] else ' of words'}, "
            f"{plan['frames']} frames: {plan['direct_ms']:.1f} ms called directly, {plan['through_ms']:.1f} "
            f"through wire and service: {plan['ratio']:.1f} times"
            for plan in found["plans"]
        ),
    ]


def share(found: dict[str, Any], step_ms: float) -> str:
    """For a terminal: what a step's way is of a step of the planner that was loaded, as one robot saw it."""
    added = found["wall_ms"]["step"]
    return (
        f"of a step of the planner served above ({step_ms:.0f} ms, one robot) that is {added / step_ms:.1%}: "
        f"{step_ms / (step_ms - added):.2f} times a direct call"
    )


def _split(plans: dict[tuple[int, int, bool], float]) -> dict[str, float]:
    """By frame, step, step without picture; the plan is what is left of one."""
    least = plans[_STEPS[0], _FRAMES[0], True]
    step = (plans[_STEPS[1], _FRAMES[0], True] - least) / (_STEPS[1] - _STEPS[0])
    frame = (plans[_STEPS[0], _FRAMES[1], True] - least) / (_FRAMES[1] - _FRAMES[0])
    words = (plans[_STEPS[1], _FRAMES[0], False] - plans[_STEPS[0], _FRAMES[0], False]) / (
        _STEPS[1] - _STEPS[0]
    )
    return {"plan": least - step - frame, "frame": frame, "step": step, "words": words}


def _events(planner: Planner) -> int:
    """Of one step: what a plan of two says more than a plan of one."""
    source = Still(robot_view(("camera",), 16, 16))
    one, two = (len(list(planner.plan(Task("x", Generation(max_subgoals=n)), source))) for n in (1, 2))
    return two - one


def _time_plan(planner: Planner, steps: int, frames: int, keyframes: bool) -> float:  # noqa: FBT001 - a kind
    task = Task("stack the blocks", Generation(max_subgoals=steps, keyframes=keyframes))
    source = Still(robot_view([f"camera{n}" for n in range(frames)], _WIDTH, _HEIGHT))
    begun_s = time.perf_counter()
    for _ in planner.plan(task, source):
        pass
    return 1e3 * (time.perf_counter() - begun_s)
