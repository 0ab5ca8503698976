"""What a session has to say, without any call: numbers, what is kept, and whose turn it is to write."""

import asyncio

import grpc
import pytest

from emu_planner.plan import PlanError
from emu_planner.service.outbox import OVERHEAD_BYTES, Outbox
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import StatusError

KEPT = 1_000_000


def words(text):
    return pb.PlanResponse(text_delta=pb.TextDelta(text=text))


def texts(responses):
    return [one.text_delta.text for one in responses if one.HasField("text_delta")]


class Call:
    """A stream that takes responses when it is told to."""

    def __init__(self, *, open_=True):
        self.got, self.may = [], asyncio.Event()
        if open_:
            self.may.set()

    async def write(self, response):
        await self.may.wait()
        self.got.append(response)


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def test_an_earlier_call_takes_nothing_from_a_later_one():
    async def story():
        box, old, new = Outbox(KEPT, lambda: None), Call(), Call()
        box.attach(0)
        first = asyncio.create_task(box.pump(old.write))
        await box.put(words("a"))
        await settle()
        # the old pump waits for more, and is not cancelled yet when the new call comes
        box.attach(1)
        putting = asyncio.create_task(box.put(words("b")))
        await settle()
        second = asyncio.create_task(box.pump(new.write))
        await putting
        box.end()
        await asyncio.gather(first, second)
        return old.got, new.got

    old, new = run(story())
    assert (texts(old), texts(new)) == (["a"], ["b"])


def test_what_an_earlier_call_is_busy_with_comes_again():
    async def story():
        box, old, new = Outbox(KEPT, lambda: None), Call(open_=False), Call()
        box.attach(0)
        first = asyncio.create_task(box.pump(old.write))
        putting = asyncio.create_task(box.put(words("a")))
        await settle()
        box.attach(0)
        # nobody waits for a call that has been displaced
        await putting
        old.may.set()
        await first
        second = asyncio.create_task(box.pump(new.write))
        box.end()
        await second
        return new.got

    assert texts(run(story())) == ["a"]


def test_without_a_call_nobody_waits_and_without_resume_nothing_is_kept():
    async def story(limit):
        box, call = Outbox(limit, lambda: None), Call()
        for text in "abc":
            await box.put(words(text))
        await box.put(pb.PlanResponse(pong=pb.Pong(id=1)))
        box.attach(0)
        box.end()
        await box.pump(call.write)
        return call.got

    assert [one.seq for one in run(story(KEPT))] == [1, 2, 3]
    assert run(story(0)) == []


def test_only_what_can_come_again_is_numbered():
    async def story():
        box, call = Outbox(KEPT, lambda: None), Call()
        box.attach(0)
        pump = asyncio.create_task(box.pump(call.write))
        for response in (words("a"), pb.PlanResponse(credit=pb.ObservationCredit(credits=1)), words("b")):
            await box.put(response)
        box.end()
        await pump
        return call.got

    assert [one.seq for one in run(story())] == [1, 0, 2]


def test_what_has_arrived_is_forgotten_and_cannot_be_asked_for():
    async def story():
        box = Outbox(KEPT, lambda: None)
        for text in "abcd":
            await box.put(words(text))
        whole = box.kept_bytes
        box.received(2)
        assert 0 < box.kept_bytes < whole
        box.received(1)  # late: without effect
        box.check(2)
        box.check(4)
        for after, reason in ((1, "not kept any more"), (5, "has made 4")):
            with pytest.raises(StatusError, match=reason) as raised:
                box.check(after)
            assert raised.value.status is grpc.StatusCode.OUT_OF_RANGE
        with pytest.raises(PlanError, match="cannot have arrived"):
            box.received(5)
        box.received(4)
        assert box.kept_bytes == 0

    run(story())


def test_too_much_forgets_the_oldest_with_a_call_and_tells_without():
    async def story(attached):
        told = []
        box, call = Outbox(3 * OVERHEAD_BYTES, lambda: told.append(1)), Call()
        if attached:
            box.attach(0)
            pump = asyncio.create_task(box.pump(call.write))
        for text in "abcdef":
            await box.put(words(text))
        if attached:
            box.end()
            await pump
            assert texts(call.got) == list("abcdef")
            box.check(6)
            with pytest.raises(StatusError):
                box.check(0)
        return told

    assert run(story(attached=True)) == []
    assert run(story(attached=False))
