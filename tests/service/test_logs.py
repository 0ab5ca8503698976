"""Log lines for machines, as a running service writes them."""

import io
import json
import logging

import grpc
import pytest

from emu_planner.service.logs import JsonLines
from emu_planner.service.server import running_service
from tests.fakes import FakePlanner
from tests.service.calls import Call, opening, status_of


@pytest.fixture
def written():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("emu_planner")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_each_line_is_an_object_and_names_its_session(written):
    with running_service(FakePlanner) as target, grpc.insecure_channel(target) as channel:
        call = Call(channel).send(open=opening(session_id="robot-7", instruction="stack\nforged line"))
        call.plan()
        call.close()
        list(call.responses)
    lines = written()
    of_session = [line for line in lines if line.get("session") == "robot-7"]
    assert any("forged line" in line["message"] for line in of_session)
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert any(line["message"] == "stopped" and "session" not in line for line in lines)


def test_a_defect_is_one_line_with_its_traceback(written):
    class Broken(FakePlanner):
        def plan(self, task, frames, history=(), *, stop=None):
            raise ZeroDivisionError("inside")

    with running_service(Broken) as target, grpc.insecure_channel(target) as channel:
        call = Call(channel).send(open=opening())
        with pytest.raises(grpc.RpcError):
            call.plan()
        del call
        status_of(Call(channel).close())
    (line,) = [line for line in written() if "exception" in line]
    assert line["level"] == "error"
    assert "ZeroDivisionError" in line["exception"]
