"""A few of the odd conversations and pictures of tools/fuzz_wire.py: nothing is lost."""

import grpc
import pytest

pytest.importorskip("hypothesis")

from emu_planner.service.server import running_service
from emu_planner.wire import codec
from emu_planner.wire import planner_pb2 as pb
from tests.fakes import FakePlanner, fake_observation
from tests.service.calls import PNG, opening
from tools import fuzz_wire
from tools.odd_messages import Talk


def test_whatever_comes_a_typed_status_goes_back_and_the_service_stays_well(caplog):
    with running_service(lambda: FakePlanner(steps=2), fuzz_wire.CONFIG) as target:
        tallies = dict(fuzz_wire.run(target, examples=60, number=1))
    for name, tally in tallies.items():
        assert tally.lost == [], name
        assert tally.tried > 0, name
    # it got somewhere: not all conversations end at their first message
    assert any("plan" in outcome for outcome in tallies["conversations"].outcomes)
    assert tallies["pictures"].outcomes["decoded"]
    assert "Traceback" not in caplog.text
    assert "internal error" not in caplog.text


def test_a_loss_is_seen():
    """The judge itself: what a defect looks like to it."""

    class Broken(FakePlanner):
        def plan(self, task, frames, history=(), *, stop=None):
            raise ZeroDivisionError("inside")

    messages = [{"open": opening()}, {"observation": codec.observation_to_proto(fake_observation(), PNG)}]
    talk = Talk(tuple(pb.PlanRequest(**one).SerializeToString() for one in messages), "half-close")
    for planner, fault in ((FakePlanner(), ""), (Broken(), "INTERNAL")):
        with (
            running_service(lambda planner=planner: planner, fuzz_wire.CONFIG) as target,
            grpc.insecure_channel(target) as channel,
        ):
            assert fuzz_wire.hold(channel, talk)[1].startswith(fault)
            assert bool(fuzz_wire.hold(channel, talk)[1]) is bool(fault)
            assert bool(fuzz_wire.is_well(channel, target)) is bool(fault)
