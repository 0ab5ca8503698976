"""Plans over links that break at random places: each has to come whole, and every event of it once.

    python -m tools.cut_links
    python -m tools.cut_links --plans 500 --cuts 4 --picture 400

A service with a fake planner, a client, and between them a proxy that breaks the TCP connection after
drawn numbers of bytes, in the middle of messages and pictures too. Each plan is compared, pixel by pixel,
with the one that is made without a service. Prints how many plans were tried, survived and lost, and how
many breaks they met; the exit status is 1 when any was lost, or when sessions are left over.
"""

import argparse
import logging
import random
import sys
import threading
import time
from collections.abc import Sequence

from emu_planner.plan import Event, Generation, PlanError, Still, Task, Waiting
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.images import Encoding, ImageConfig
from tests import fakes
from tests.service.cutting import CuttingProxy

TASK = Task("stack the blocks", Generation(seed=5))
STILL = Still(fakes.fake_observation())
CLIENT = ClientConfig(images=ImageConfig(Encoding.PNG), resume_patience_s=20.0)


def plan_over(address: str) -> list[Event]:
    """One plan of a client of its own; waiting depends on the moment, and is left out."""
    with RemotePlanner(address, CLIENT) as planner:
        return [event for event in planner.plan(TASK, STILL) if not isinstance(event, Waiting)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and say by the exit status whether anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--cuts", type=int, default=4, help="most breaks a plan (default: %(default)s)")
    parser.add_argument("--picture", type=int, default=64, help="its side, px (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the places (default: %(default)s)")
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    fakes.VIEW_PX = args.picture
    expected = list(fakes.FakePlanner(steps=5).plan(TASK, STILL))
    slow = fakes.FakePlanner(steps=5, token_delay_s=0.001)
    rng, breaks, lost, begun_s = random.Random(args.seed), 0, list[str](), time.monotonic()
    with running_service(lambda: slow, ServiceConfig(address="127.0.0.1:0", drain_timeout_s=0.0)) as target:
        with CuttingProxy(target) as proxy:
            whole = plan_over(proxy.address) == expected
            span = proxy.from_service
        for number in range(args.plans):
            # beyond the span too: what comes again is sent again
            cuts = [rng.randrange(1, round(1.3 * span)) for _ in range(rng.randint(1, args.cuts))]
            with CuttingProxy(target, cuts) as proxy:
                try:
                    fault = "" if plan_over(proxy.address) == expected else "another plan"
                except PlanError as error:
                    fault = str(error)
                breaks += proxy.broken
            if fault:
                lost.append(f"plan {number}, cut after {cuts} bytes: {fault}")
        with RemotePlanner(target) as planner:
            left = planner.server_info().active_sessions
    print(f"plans: tried {args.plans}, survived {args.plans - len(lost)}, lost {len(lost)}; ", end="")
    print(f"{breaks} breaks; {len(expected)} events and {span} bytes a plan; ", end="")
    print(
        f"{left} sessions and {threading.active_count() - 1} threads left; {time.monotonic() - begun_s:.0f} s"
    )
    for words in lost[:5]:
        print(f"  {words}")
    return 0 if whole and not lost and not left else 1


if __name__ == "__main__":
    sys.exit(main())
