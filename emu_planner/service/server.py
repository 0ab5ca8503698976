"""Start and stop the service: socket, health, reflection, loading, graceful drain.

`serve` blocks, for a command line; `running_service` runs in a thread, for tests and for programs
that bring their own planner.
"""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from emu_planner.plan import Planner
from emu_planner.service.access import Access, AccessInterceptor
from emu_planner.service.config import ServiceConfig
from emu_planner.service.decoding import DecodingInterceptor
from emu_planner.service.servicer import PlannerServicer
from emu_planner.service.slots import RunSlots
from emu_planner.service.state import ServiceState
from emu_planner.service.tls import server_credentials
from emu_planner.wire import planner_pb2_grpc
from emu_planner.wire.status import SERVICE_NAME
from emu_planner.wire.tracing import Tracing

logger = logging.getLogger(__name__)

Load = Callable[[], Planner]

# what a call that is answered at once may still take when the service stops, s
_SHORT_CALL_S = 0.25


class Watcher(Protocol):
    """Who looks at the service's state from then on, such as metrics.Metrics."""

    def watch(self, state: ServiceState) -> None:
        """Called once, before the service listens."""
        ...


class PlannerServer:
    """A service in the running event loop.

    Args:
        load: makes the planner; called in a thread, while the service already answers.
        config: limits and the address.
        metrics: shows sessions and queue; None: nobody does.
        tracing: makes spans of the sessions; None: nobody does.

    Raises:
        CredentialsError: the file of tokens cannot be used.
    """

    def __init__(
        self,
        load: Load,
        config: ServiceConfig,
        metrics: Watcher | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._load, self._config = load, config
        self._state = ServiceState(config, RunSlots(config.max_running_plans), tracing=tracing)
        if metrics is not None:
            metrics.watch(self._state)
        self._health = health.aio.HealthServicer()
        self._state.access = Access(config.tokens) if config.tokens else None
        guards: list[grpc.aio.ServerInterceptor] = [DecodingInterceptor()]
        if self._state.access:
            guards.insert(0, AccessInterceptor(self._state.access))
        self._server = grpc.aio.server(interceptors=guards, options=_server_options(config))
        self._loaded: asyncio.Future[Planner] | None = None
        self.target = ""  # what a client connects to; known once started

    async def start(self) -> None:
        """Listen, and begin to load.

        Raises:
            OSError: the address cannot be bound.
            CredentialsError: a certificate or key cannot be read.
        """
        planner_pb2_grpc.add_PlannerServiceServicer_to_server(PlannerServicer(self._state), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.target = self._bind()
        await self._server.start()
        logger.info("listening on %s", self.target)
        self._loaded = _in_thread(self._load)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then drain. Raises what `load` raised."""
        assert self._loaded is not None, "start comes first"
        stopping = asyncio.ensure_future(stop.wait())
        first: set[asyncio.Future[Any]] = {self._loaded, stopping}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if self._loaded.done():
                self._state.planner = self._loaded.result()
                self._state.ready.set()
                await self._set_health(health_pb2.HealthCheckResponse.SERVING)
                logger.info("ready")
                await stopping
        finally:
            stopping.cancel()
            await self._drain()

    async def _drain(self) -> None:
        """Take nothing new, let running plans end, then stop what still runs."""
        config, state = self._config, self._state
        state.draining = True
        await self._health.enter_graceful_shutdown()
        for session in tuple(state.sessions):
            session.wake()
        logger.info("draining %d sessions", len(state.sessions))
        deadline_s = asyncio.get_running_loop().time() + config.drain_timeout_s
        while state.sessions and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(0.05)
        for session in state.sessions:
            session.halt()
        await self._server.stop(config.stop_grace_s + 1.0 if state.sessions else _SHORT_CALL_S)
        logger.info("stopped")

    def _bind(self) -> str:
        address = self._config.address
        secrets = server_credentials(self._config)
        try:
            if secrets is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, secrets)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: is another service there?") from error
        if address.startswith("unix"):
            return address
        return f"{address.rpartition(':')[0]}:{port}"

    async def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus") -> None:
        for name in ("", SERVICE_NAME):
            await self._health.set(name, status)


def serve(
    load: Load,
    config: ServiceConfig | None = None,
    metrics: Watcher | None = None,
    tracing: Tracing | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; raises what `load` raises, OSError when the port is taken."""

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server = PlannerServer(load, config or ServiceConfig(), metrics, tracing)
        await server.start()
        await server.run(stop)

    asyncio.run(main())


@contextlib.contextmanager
def running_service(
    load: Load,
    config: ServiceConfig | None = None,
    metrics: Watcher | None = None,
    tracing: Tracing | None = None,
) -> Iterator[str]:
    """A service in a thread of this process; the value is its target, listening already.

    Without a config it takes a free port. Leaving drains; what `load` raised is raised there.
    """
    config = config or ServiceConfig(address="127.0.0.1:0", drain_timeout_s=0.0)
    stop, started = asyncio.Event(), threading.Event()
    running: list[tuple[str, asyncio.AbstractEventLoop]] = []
    failures: list[BaseException] = []

    async def main() -> None:
        server = PlannerServer(load, config, metrics, tracing)
        await server.start()
        running.append((server.target, asyncio.get_running_loop()))
        started.set()
        await server.run(stop)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="emu-planner-service", daemon=True)
    thread.start()
    started.wait()
    try:
        if running:
            yield running[0][0]
    finally:
        if running:
            with contextlib.suppress(RuntimeError):  # the loop has closed: loading failed
                running[0][1].call_soon_threadsafe(stop.set)
        thread.join()
        if failures:
            raise failures[0]


def _in_thread(load: Load) -> "asyncio.Future[Planner]":
    """Like asyncio.to_thread, in a daemon: a load that hangs does not keep the process alive."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Planner] = loop.create_future()

    def finish(planner: Planner | None, error: BaseException | None) -> None:
        if loaded.cancelled():
            return
        if error is not None:
            loaded.set_exception(error)
        elif planner is not None:
            loaded.set_result(planner)

    def work() -> None:
        planner: Planner | None = None
        failure: BaseException | None = None
        try:
            planner = load()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, planner, failure)

    threading.Thread(target=work, name="emu-planner-load", daemon=True).start()
    return loaded


def _server_options(config: ServiceConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        # clients ping each 20 s: gRPC's default floor of 5 min would answer with GOAWAY
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # a peer that vanished without a word frees its session
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # who connects and says nothing takes a file descriptor away from others
        ("grpc.server_handshake_timeout_ms", round(config.handshake_timeout_s * 1000)),
        # of one connection: room for a proxy with all robots behind it, and for those that are refused
        ("grpc.max_concurrent_streams", 4 * config.max_sessions + 64),
        # two services on one port would share its callers by chance
        ("grpc.so_reuseport", 0),
    ]
