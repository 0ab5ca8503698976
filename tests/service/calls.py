"""A client of the wire without any of the client's code: raw messages on one Plan stream."""

import queue

import grpc
import pytest

from emu_planner.plan import Generation, Task
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.images import Encoding, ImageConfig
from tests.fakes import fake_observation

PNG = ImageConfig(encoding=Encoding.PNG)
TASK = Task("stack the blocks", Generation(seed=5))


class Call:
    """One raw Plan stream; requests are sent when told to."""

    def __init__(self, channel, metadata=()):
        self.requests = queue.SimpleQueue()
        stub = planner_pb2_grpc.PlannerServiceStub(channel)
        self.responses = stub.Plan(iter(self.requests.get, None), timeout=60, metadata=metadata)

    def send(self, **message):
        self.requests.put(pb.PlanRequest(**message))
        return self

    def close(self):
        self.requests.put(None)
        return self

    def until(self, kind):
        """Every response up to the first of that kind."""
        seen = []
        for response in self.responses:
            seen.append(response)
            if response.WhichOneof("message") == kind:
                return seen
        raise AssertionError(f"no {kind} in {seen}")

    def plan(self, observation=None):
        """Answer credits until the plan ends; all its responses."""
        observation = observation or fake_observation()
        seen = self.until("credit")
        self.send(observation=codec.observation_to_proto(observation, PNG))
        return seen + self.until("plan_complete")


def opening(**changes):
    message = codec.task_to_open(TASK, (), (), "a-session")
    for name, value in changes.items():
        if isinstance(value, (str, int)):
            setattr(message, name, value)
        else:
            getattr(message, name).MergeFrom(value)
    return message


def status_of(call):
    with pytest.raises(grpc.RpcError) as raised:
        list(call.responses)
    return raised.value
