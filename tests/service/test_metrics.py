"""Metrics as Prometheus reads them: a real service, a real scrape."""

import threading
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emu_planner.plan import ErrorCode, Generation, PlanError, Still, Task, collect
from emu_planner.service.config import ServiceConfig
from emu_planner.service.metrics import Metrics
from emu_planner.service.server import running_service
from emu_planner.wire.client import RemotePlanner
from tests.fakes import FakePlanner, fake_observation

TASK = Task("stack the blocks", Generation(seed=5))


def scrape(port: int) -> dict[str, float]:
    """Every sample: its name, with the value of its label if it has one."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            ":".join([sample.name, *sample.labels.values()]): sample.value
            for family in families
            for sample in family.samples
        }


def test_plans_times_and_sessions_are_counted():
    metrics = Metrics()
    port = metrics.serve("127.0.0.1", 0)
    held, entered = threading.Event(), threading.Event()

    class Held(FakePlanner):
        def plan(self, *args, **options):
            entered.set()
            held.wait(30)
            yield from super().plan(*args, **options)

    config = ServiceConfig(address="127.0.0.1:0", drain_timeout_s=0.0)
    with (
        running_service(lambda: metrics.measured(Held()), config, metrics=metrics) as target,
        RemotePlanner(target) as remote,
    ):
        remote.wait_ready(30)
        frames = Still(fake_observation())
        worker = threading.Thread(target=lambda: collect("", remote.plan(TASK, frames)))
        worker.start()
        assert entered.wait(30)
        now = scrape(port)
        assert (now["emu_planner_sessions"], now["emu_planner_plans_running"]) == (1, 1)
        assert now["emu_planner_ready"] == 1
        held.set()
        worker.join(30)
        report = collect("", remote.plan(TASK, frames))
        then = scrape(port)
    assert then[f"emu_planner_plans_total:{report.reason}"] == 2
    assert then["emu_planner_steps_total"] == 2 * len(report.steps)
    assert then["emu_planner_first_step_seconds_count"] == 2
    assert then["emu_planner_step_seconds_count"] == 2 * (len(report.steps) - 1)
    assert then["emu_planner_first_word_seconds_count"] == 2
    assert then["emu_planner_tokens_total:generated"] == 2 * report.timing.generated_tokens
    assert then["emu_planner_plans_running"] == 0


def test_failures_and_abandoned_plans_are_counted_apart():
    metrics, frames = Metrics(), Still(fake_observation())
    failing = metrics.measured(FakePlanner(fail_at=1))
    with pytest.raises(PlanError):
        list(failing.plan(TASK, frames))
    stream = metrics.measured(FakePlanner()).plan(TASK, frames)
    next(stream)
    stream.close()

    class Broken:
        def plan(self, *args, **options):
            raise RuntimeError("out of memory")
            yield

    with pytest.raises(RuntimeError):
        list(metrics.measured(Broken()).plan(TASK, frames))
    port = metrics.serve("127.0.0.1", 0)
    found = scrape(port)
    assert found[f"emu_planner_plans_total:{ErrorCode.INTERNAL.value}"] == 1
    assert found[f"emu_planner_plans_total:{ErrorCode.INVALID_OUTPUT.value}"] == 1
    assert found["emu_planner_plans_total:abandoned"] == 1
    assert found["emu_planner_plans_running"] == 0
