"""Spans across client and service, with OpenTelemetry's own exporter that keeps them in memory."""

import subprocess
import sys

import grpc
import pytest

from emu_planner.plan import ErrorCode, PlanError, Still, collect
from emu_planner.service.server import running_service
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.tracing import VARIABLE, Tracing
from tests.fakes import FakePlanner, fake_observation
from tests.service.calls import PNG, TASK, opening
from tests.service.cutting import CuttingProxy
from tests.service.test_remote_planner import Gate, wait_until

STILL = Still(fake_observation())


class Spans:
    """A provider and what it has exported."""

    def __init__(self):
        sdk = pytest.importorskip("opentelemetry.sdk.trace")
        export = pytest.importorskip("opentelemetry.sdk.trace.export")
        memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
        self.exporter = memory.InMemorySpanExporter()
        self.provider = sdk.TracerProvider()
        self.provider.add_span_processor(export.SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(self.provider)

    def all(self):
        return self.exporter.get_finished_spans()

    def named(self, name):
        return [span for span in self.all() if span.name == name]

    def below(self, parent, name=None):
        found = [one for one in self.all() if one.parent and one.parent.span_id == parent.context.span_id]
        return [one for one in found if name in (None, one.name)]


@pytest.fixture
def robot():
    return Spans()


@pytest.fixture
def server():
    return Spans()


def client(target, spans, **changes):
    return RemotePlanner(target, ClientConfig(images=PNG, tracing=spans.tracing, **changes))


def test_a_plan_is_one_trace_at_both_ends(robot, server):
    with (
        running_service(lambda: FakePlanner(steps=2), tracing=server.tracing) as target,
        client(target, robot) as remote,
    ):
        report = collect("x", remote.plan(TASK, STILL))
        wait_until(lambda: server.named("session"))
    assert report.reason == "stop"
    (asked,), (served,) = robot.named("session"), server.named("session")
    assert served.context.trace_id == asked.context.trace_id
    assert served.parent.span_id == asked.context.span_id
    assert served.attributes["emu.session_id"] == asked.attributes["emu.session_id"]
    for spans, root, work in ((robot, asked, "keyframe decode"), (server, served, "keyframe encode")):
        steps = spans.below(root, "step")
        assert [step.attributes["emu.step"] for step in steps] == [0, 1]
        for step in steps:
            assert step.attributes["emu.generated_tokens"] == report.steps[0].subgoal.count(" ") + 1 + 4
            assert root.start_time <= step.start_time <= step.end_time <= root.end_time
            (words,), (keyframe,) = spans.below(step, "words"), spans.below(step, "keyframe")
            assert step.start_time <= words.start_time <= words.end_time <= keyframe.start_time
            assert keyframe.end_time <= step.end_time
        assert [one.attributes["emu.step"] for one in spans.named(work)] == [0, 1]


def test_spans_tell_no_words_and_no_secrets(robot, server):
    with running_service(FakePlanner, tracing=server.tracing) as target, client(target, robot) as remote:
        report = collect("x", remote.plan(TASK, STILL))
        wait_until(lambda: server.named("session"))
    told = "".join(span.to_json() for span in robot.all() + server.all())
    assert TASK.instruction not in told
    for step in report.steps:
        assert step.subgoal not in told


def test_a_broken_link_is_one_trace_with_its_moments(robot, server):
    gate = Gate()
    with (
        running_service(lambda: gate, tracing=server.tracing) as target,
        CuttingProxy(target) as proxy,
        client(proxy.address, robot, resume_patience_s=20.0) as remote,
    ):
        events = remote.plan(TASK, STILL)
        next(events)
        proxy.cut()
        gate.go.set()
        list(events)
        wait_until(lambda: server.named("session"))
    for spans in (robot, server):
        (session,) = spans.named("session")
        moments = [event.name for event in session.events]
        assert [one for one in moments if one in ("link lost", "resumed")] == ["link lost", "resumed"]
        assert len(spans.named("step")) == 3


def test_a_failure_is_a_code_on_the_session(robot, server):
    failing = FakePlanner(fail_at=1, error=PlanError(ErrorCode.INTERNAL, "words of the inside"))
    with (
        running_service(lambda: failing, tracing=server.tracing) as target,
        client(target, robot) as remote,
    ):
        with pytest.raises(PlanError):
            list(remote.plan(TASK, STILL))
        wait_until(lambda: server.named("session"))
    for spans in (robot, server):
        (session,) = spans.named("session")
        assert session.attributes["error.type"] == "internal"
        assert not session.status.is_ok
        assert "inside" not in session.to_json()
        assert len(spans.named("step")) == 1


def test_the_other_call_is_traced_too_and_a_client_without_traces_is_a_root(server):
    with (
        running_service(FakePlanner, tracing=server.tracing) as target,
        grpc.insecure_channel(target) as channel,
    ):
        stub = planner_pb2_grpc.PlannerServiceStub(channel)
        observation = codec.observation_to_proto(fake_observation(), PNG)
        request = pb.GeneratePlanRequest(session=opening(), observations=[observation])
        # a false context is no reason to fail
        list(stub.GeneratePlan(request, timeout=60, metadata=(("traceparent", "nonsense"),)))
        wait_until(lambda: server.named("session"))
    (session,) = server.named("session")
    assert session.parent is None
    assert len(server.below(session, "step")) == 3


def test_off_by_default_and_then_nothing_of_it_is_imported():
    assert Tracing.from_environment("x", {}) is None
    assert Tracing.from_environment("x", {VARIABLE: "0"}) is None
    code = (
        "import sys\n"
        "from emu_planner.service.server import running_service\n"
        "from emu_planner.wire.client import RemotePlanner\n"
        "from emu_planner.plan import Still, Task, collect\n"
        "from tests.fakes import FakePlanner, fake_observation\n"
        "with running_service(FakePlanner) as target, RemotePlanner(target) as remote:\n"
        "    assert collect('x', remote.plan(Task('x'), Still(fake_observation()))).reason == 'stop'\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ValueError, match="opentelemetry-exporter-otlp-proto-http"):
        Tracing.from_environment("x", {VARIABLE: "1"})
