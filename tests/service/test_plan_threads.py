"""Plans use threads again: what a library keeps for each thread that it ever saw does not add up."""

import threading

from emu_planner.plan import Still, Task, collect
from emu_planner.service.run import PlanThreads
from emu_planner.service.server import running_service
from emu_planner.wire.client import RemotePlanner
from tests.fakes import FakePlanner, fake_observation


def test_one_after_another_they_share_a_thread():
    threads, seen, done = PlanThreads(), set(), threading.Semaphore(0)

    def work() -> None:
        seen.add(threading.get_ident())
        done.release()

    for _ in range(20):
        threads.run(work)
        done.acquire()
        # it is free once it is on the list
        while not threads._idle:
            pass
    assert len(seen) == 1


def test_at_once_each_has_one_of_its_own():
    threads, meeting = PlanThreads(), threading.Barrier(4, timeout=30)
    for _ in range(2):
        for _ in range(3):
            threads.run(meeting.wait)
        # all three work at the same time, or this breaks
        meeting.wait()
    while len(threads._idle) < 3:
        pass


def test_plans_of_a_service_do_not_each_take_a_new_thread():
    seen = set()

    class Noting(FakePlanner):
        def plan(self, *args, **options):
            # the object: a number is given again once a thread has ended
            seen.add(threading.current_thread())
            yield from super().plan(*args, **options)

    with running_service(Noting) as target, RemotePlanner(target) as remote:
        remote.wait_ready(30)
        for _ in range(20):
            collect("x", remote.plan(Task("x"), Still(fake_observation())))
    # one runs at a time, but the next may come before the last one's thread is on the list again
    assert len(seen) < 10
