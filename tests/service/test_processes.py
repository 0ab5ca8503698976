"""A service in its own process: killed, back again, and asked politely to end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emu_planner.plan import (
    ErrorCode,
    FinishReason,
    Generation,
    PlanError,
    Still,
    Task,
    TextDelta,
    collect,
)
from emu_planner.wire.client import ClientConfig, RemotePlanner
from tests.fakes import fake_observation

ROOT = Path(__file__).parents[2]
SHORT = Task("x", Generation(max_subgoals=1))
LONG = Task("x")


def start(address, token_delay_s):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests/service/serve_fake.py"), address, str(token_delay_s)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def service(address):
    process = start(address, 0.02)
    yield process
    process.kill()
    process.communicate()


def words_of(planner):
    """A long plan that has begun to speak."""
    events = planner.plan(LONG, Still(fake_observation()))
    for event in events:
        if isinstance(event, TextDelta):
            return events
    raise AssertionError("the plan said nothing")


def test_a_killed_service_is_a_typed_error_and_the_next_plan_works(service, address):
    # these limits are far above the 5 s in which a caller has to hear of it
    config = ClientConfig(first_subgoal_timeout_s=60.0, subgoal_timeout_s=60.0)
    with RemotePlanner(address, config) as planner:
        planner.wait_ready(60)
        events = words_of(planner)
        service.kill()
        killed_s = time.monotonic()
        with pytest.raises(PlanError) as raised:
            list(events)
        assert time.monotonic() - killed_s < 5  # a requirement, not a measurement
        assert raised.value.code is ErrorCode.SERVER_UNAVAILABLE
        assert raised.value.retryable

        again = start(address, 0.0)
        try:
            planner.wait_ready(60)
            report = collect("x", planner.plan(SHORT, Still(fake_observation())))
            assert (report.reason, len(report.steps)) == ("length", 1)
        finally:
            again.kill()
            again.communicate()


def test_sigterm_drains_and_exits_cleanly(service, address):
    with RemotePlanner(address) as planner:
        planner.wait_ready(60)
        events = words_of(planner)
        service.send_signal(signal.SIGTERM)
        # the plan in flight is longer than the drain time, so it is asked to stop
        assert list(events)[-1].reason is FinishReason.INTERRUPTED
        _, log = service.communicate(timeout=60)
        assert service.returncode == 0
        assert "draining 1 sessions" in log
        assert "stopped" in log
        assert "Traceback" not in log
