"""Waiting for a service that another process runs. Imports gRPC when it is called, not before."""

import os
import time

from rich.console import Console

from emu_planner.cli.processes import Children
from emu_planner.cli.record import DemoError, seconds_words

# how long a service may take to answer, and then to load its model, s
_ANSWER_S = 60.0
_LOADING_S = 600.0


def wait_for_service(server: str, children: Children, console: Console) -> None:
    """Until the model is loaded. DemoError: nobody answers, or a process ends."""
    # its own words on a broken link would run through the table
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from emu_planner.plan import PlanError
    from emu_planner.wire.client import ClientConfig, RemotePlanner
    from emu_planner.wire.credentials import Credentials

    begun_s = time.monotonic()
    console.print(f"service at {server}: loading the model ...", highlight=False)
    with RemotePlanner(server, ClientConfig(credentials=Credentials.from_environment())) as planner:
        answered = False
        while True:
            children.check()
            try:
                info = planner.wait_ready(1.0)
                break
            except PlanError as error:
                spent_s = time.monotonic() - begun_s
                answered |= not error.message.startswith("no planner service")
                if not error.retryable or spent_s > (_LOADING_S if answered else _ANSWER_S):
                    raise DemoError(error.message) from error
    spent = seconds_words(time.monotonic() - begun_s)
    console.print(f"service at {server}: ready, model {info.model or '?'} ({spent})", highlight=False)
