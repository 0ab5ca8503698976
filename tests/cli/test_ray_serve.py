"""Two replicas behind Ray Serve's proxy: sessions stay where they are when links break; replicas die."""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from emu_planner.cli.processes import free_port
from emu_planner.cli.ray_serve import SERVICER, application, build
from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    FrameSource,
    Generation,
    PlanError,
    StepComplete,
    StepOutcome,
    Still,
    Stop,
    Task,
    collect,
)
from emu_planner.service.config import ServiceConfig
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.images import Encoding, ImageConfig
from tests.fakes import FakePlanner, fake_observation
from tests.service.cutting import CuttingProxy

SESSIONS = 4
PNG = ClientConfig(resume_patience_s=20.0, images=ImageConfig(encoding=Encoding.PNG))
FAKE = FakePlanner(steps=4, token_delay_s=0.02)


def task(seed: int) -> Task:
    return Task("stack the blocks", Generation(seed=seed))


@dataclass(frozen=True)
class Signing:
    """The fake, which writes the seed of each plan and its process into a folder."""

    folder: Path

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        with (self.folder / str(os.getpid())).open("a") as signed:
            signed.write(f"{task.generation.seed}\n")
        return FAKE.plan(task, frames, history, stop=stop)


def planned_in(folder: Path) -> dict[int, list[int]]:
    """By process, the seeds of the plans that it made."""
    return {int(file.name): [int(line) for line in file.read_text().split()] for file in folder.iterdir()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The proxy's address, and the folder that its two replicas write into."""
    why = "Ray Serve is not installed: pip install -r requirements/ray_serve.txt"
    serve = pytest.importorskip("ray.serve", reason=why)
    ray = pytest.importorskip("ray")
    # of the extra `serve`; with Ray alone ray.serve can be imported too
    pytest.importorskip("mmh3", reason=why)
    folder, port = tmp_path_factory.mktemp("replicas"), free_port()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"port": free_port()},
            grpc_options=serve.config.gRPCOptions(port=port, grpc_servicer_functions=[SERVICER]),
        )
        config = ServiceConfig(max_sessions=SESSIONS, max_running_plans=SESSIONS)
        serve.run(
            application(partial(Signing, folder), config, num_replicas=2, ray_actor_options={"num_cpus": 0.1})
        )
        yield f"127.0.0.1:{port}", folder
    finally:
        serve.shutdown()
        ray.shutdown()


def test_plans_are_the_direct_ones_and_come_from_both_replicas(cluster: tuple[str, Path]) -> None:
    target, folder = cluster
    seeds = range(16)
    frames = Still(fake_observation())
    with RemotePlanner(target, PNG) as remote, ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda seed: collect("", remote.plan(task(seed), frames)), seeds))
    assert reports == [collect("", FakePlanner(steps=4).plan(task(seed), frames)) for seed in seeds]
    made = planned_in(folder)
    assert len(made) == 2
    assert sorted(seed for ones in made.values() for seed in ones) == list(seeds)


def test_a_session_whose_link_breaks_goes_on_in_its_replica(cluster: tuple[str, Path]) -> None:
    target, folder = cluster
    frames = Still(fake_observation())
    for seed in range(100, 106):
        with CuttingProxy(target) as cutting, RemotePlanner(cutting.address, PNG) as remote:
            events = []
            for event in remote.plan(task(seed), frames):
                events.append(event)
                if isinstance(event, StepComplete):
                    cutting.cut()
            assert cutting.broken == 4
        assert collect("", iter(events)) == collect("", FakePlanner(steps=4).plan(task(seed), frames))
    made = Counter(seed for ones in planned_in(folder).values() for seed in ones)
    # each was planned once, so every resume found it
    assert all(made[seed] == 1 for seed in range(100, 106))


def test_a_stop_and_a_refusal_come_through(cluster: tuple[str, Path]) -> None:
    target, _ = cluster
    with RemotePlanner(target, PNG) as remote:
        stop, reasons = Stop(), []
        for event in remote.plan(task(200), Still(fake_observation()), stop=stop):
            stop.request()
            reasons.append(getattr(event, "reason", None))
        assert reasons[-1] is FinishReason.INTERRUPTED
        with pytest.raises(PlanError) as raised:
            list(remote.plan(Task("x" * 5000), Still(fake_observation())))
        assert raised.value.code is ErrorCode.INVALID_REQUEST
        assert "5000 characters" in raised.value.message
        refused = _crowd(remote, 2 * SESSIONS + 2)
    assert len(refused) >= 2
    assert {(error.code, error.retry_after_s) for error in refused} == {(ErrorCode.RESOURCE_EXHAUSTED, 2.0)}


def _crowd(remote: RemotePlanner, robots: int) -> list[PlanError]:
    """So many plan at once; what those hear that find no room."""
    together = threading.Barrier(robots)

    def one(seed: int) -> PlanError | None:
        together.wait()
        try:
            list(remote.plan(task(seed), Still(fake_observation())))
        except PlanError as error:
            return error
        return None

    with ThreadPoolExecutor(robots) as pool:
        return [error for error in pool.map(one, range(300, 300 + robots)) if error is not None]


def test_when_a_replica_dies_a_robot_is_told_to_plan_anew_and_can(cluster: tuple[str, Path]) -> None:
    target, folder = cluster
    frames = Still(fake_observation())
    with RemotePlanner(target, PNG) as remote:
        plan = remote.plan(task(400), frames)
        while not isinstance(next(plan), StepComplete):
            pass
        (victim,) = (pid for pid, seeds in planned_in(folder).items() if 400 in seeds)
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(PlanError) as raised:
            list(plan)
        assert raised.value.code is ErrorCode.SERVER_UNAVAILABLE
        assert raised.value.retryable
        again = collect("", remote.plan(task(401), frames))
    assert again == collect("", FakePlanner(steps=4).plan(task(401), frames))


def test_without_ray_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    with pytest.raises(ValueError, match=r"pip install -r requirements/ray_serve\.txt"):
        build({"checkpoint": "nano"})


def test_wrong_arguments_of_the_application_are_told() -> None:
    with pytest.raises(ValueError, match="--max-planes 2 is not known"):
        build({"checkpoint": "nano", "max_planes": 2})
    with pytest.raises(ValueError, match="max-plans"):
        build({"checkpoint": "nano", "max_plans": "many"})
