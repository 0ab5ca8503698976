"""`emu-planner console`: the operator's page, for a simulated robot, a robot on ROS, or a recording.

Here the page's room meets simulator, service and ROS; each is imported when it is asked for.
"""

import argparse
import contextlib
import importlib.util
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emu_planner.wire.address import is_local

if TYPE_CHECKING:
    from emu_planner.console.app import WebConfig
    from emu_planner.console.gate import SignIn
    from emu_planner.console.robot import Robot
    from emu_planner.plan import Planner
    from emu_planner.wire.client import RemotePlanner

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_CAMERAS = ("front", "side")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--demo", action="store_true", help="a simulated robot in this process")
    what.add_argument(
        "--robot", metavar="NAMESPACE", help='a robot on ROS: its planner node\'s namespace ("/" for none)'
    )
    what.add_argument("--replay", type=Path, metavar="FILE", help="a recorded session: its folder or file")
    demo = parser.add_argument_group("with --demo")
    demo.add_argument(
        "--server",
        metavar="HOST:PORT",
        help="plan with this service (default: the simulator's oracle, which needs no model)",
    )
    demo.add_argument("--scene", metavar="FAMILY", default="stack", help="kind of scene (default: stack)")
    demo.add_argument("--arm", metavar="NAME", default="panda", help="who acts in it (default: panda)")
    demo.add_argument("--seed", type=int, default=7, help="draws the scene (default: 7)")
    demo.add_argument(
        "--time-factor", type=float, default=1.0, metavar="X", help="simulated seconds in one second"
    )
    robot = parser.add_argument_group("with --robot")
    robot.add_argument(
        "--cameras", default=",".join(_CAMERAS), metavar="A,B", help="what is shown (default: %(default)s)"
    )
    parser.add_argument(
        "--sessions", type=Path, default=Path("out/sessions"), metavar="DIR", help="default: out/sessions"
    )
    parser.add_argument(
        "--picture-rate",
        type=float,
        default=8.0,
        metavar="HZ",
        help="pictures a second of each camera, shown and recorded (default: %(default)g)",
    )
    parser.add_argument("--no-record", action="store_true", help="keep no sessions")
    web = parser.add_argument_group("the page, and who may open it (docs/console.md)")
    web.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    web.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)")
    web.add_argument("--tokens", type=Path, metavar="FILE", help="ask for a token of `emu-planner tokens`")
    web.add_argument("--tls-certificate", type=Path, metavar="PEM", help="the page's certificate")
    web.add_argument("--tls-key", type=Path, metavar="PEM", help="its key")
    web.add_argument(
        "--insecure",
        action="store_true",
        help="serve other machines although the link is plain or nobody is asked who they are",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until SIGTERM or SIGINT. 1: no robot; 2: wrong arguments; 3: the port is taken."""
    if importlib.util.find_spec("nicegui") is None:
        print(
            "emu-planner console: the page needs NiceGUI, which is not installed; run\n"
            "  pip install -r requirements/console.txt",
            file=sys.stderr,
        )
        return 2
    try:
        _check_arguments(args)
        with _listen(args.host, args.port) as listener:
            return _run(args, _web_config(args, listener))
    except ValueError as error:
        print(f"emu-planner console: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"emu-planner console: cannot listen on {args.host}:{args.port}: {error}", file=sys.stderr)
        return 3


def _run(args: argparse.Namespace, web: "WebConfig") -> int:
    from emu_planner.console.app import serve
    from emu_planner.console.hub import Hub
    from emu_planner.console.record import SessionRecorder, read_session

    scheme = "http" if web.tls_certificate is None else "https"
    host, port = web.listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    address = f"console: {scheme}://{shown}:{port}/"
    if args.replay is not None:
        read_session(args.replay)  # its errors are for here, not for the page
        print(address, flush=True)
        with _until_stopped():
            serve(web, None, None, args.replay)
        return 0
    sessions = None if args.no_record else args.sessions
    with _until_stopped(), _demo(args) if args.demo else _ros(args) as robot:
        recorder = None if sessions is None else SessionRecorder(sessions)
        hub = Hub(robot, recorder, args.picture_rate)
        try:
            print(address, flush=True)
            serve(web, hub, sessions)
        finally:
            hub.close()
    return 0


@contextlib.contextmanager
def _until_stopped() -> Iterator[None]:
    """SIGTERM, SIGHUP and Ctrl-C end what is inside in good order: the server passes them on."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        yield


def _check_arguments(args: argparse.Namespace) -> None:
    """ValueError: arguments that do not fit together."""
    if args.server is not None and not args.demo:
        raise ValueError("--server is for --demo; a robot on ROS has its own service")
    if (args.tls_certificate is None) != (args.tls_key is None):
        raise ValueError("--tls-certificate and --tls-key go together; give both or neither")
    if not 0 < args.picture_rate <= 60:
        raise ValueError(f"--picture-rate is {args.picture_rate:g}; expected above 0, at most 60")
    if args.seed < 0:
        raise ValueError(f"seed {args.seed} is negative; expected 0 or more")
    open_to_all = args.tokens is None or args.tls_certificate is None
    if not is_local(f"{args.host}:{args.port}") and open_to_all and not args.insecure:
        raise ValueError(
            f"{args.host} is reached from other machines: add --tokens and a certificate "
            "(--tls-certificate, --tls-key), or --insecure if you know the network"
        )


def _web_config(args: argparse.Namespace, listener: socket.socket) -> "WebConfig":
    from emu_planner.console.app import WebConfig

    hosts = _LOCAL_NAMES if is_local(f"{args.host}:{args.port}") else frozenset()
    sign_in = None if args.tokens is None else _sign_in(args.tokens)
    return WebConfig(listener, hosts, sign_in, args.tls_certificate, args.tls_key)


def _sign_in(tokens: Path) -> "SignIn":
    """Who holds a token, by the same file as the service's."""
    from emu_planner.plan import PlanError
    from emu_planner.service.access import Access

    access = Access(tokens)

    def holder(token: str) -> str | None:
        try:
            return access.identify((("authorization", f"Bearer {token}"),)).name
        except PlanError:
            return None

    return holder


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def _demo(args: argparse.Namespace) -> "Iterator[Robot]":
    """A simulated robot, planned for by the oracle or by a service."""
    from emu_planner.console.local import LocalRobot
    from emu_planner.goal.feed import CameraFeed
    from sim.rig import Rig, RigConfig

    feed = CameraFeed(_CAMERAS)
    config = RigConfig(args.scene, args.seed, args.arm, time_factor=args.time_factor)
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(Rig(config, feed.put))
        print(f"scene {args.scene} {args.seed}; its task: {rig.instruction}", flush=True)
        planner: Planner = rig
        name = "plans: simulator's ORACLE, no model"
        if args.server is not None:
            planner = stack.enter_context(_remote(args.server))
            name = f"plans: service {args.server}"
        yield LocalRobot(planner, feed, rig, robot="SIMULATION", planner_name=name)


def _remote(server: str) -> "RemotePlanner":
    """The service's planner, with who this machine is from the environment."""
    from emu_planner.wire.client import ClientConfig, RemotePlanner
    from emu_planner.wire.credentials import Credentials

    # as patient as the page's goals are; the service keeps a plan for less
    config = ClientConfig(credentials=Credentials.from_environment(), resume_patience_s=60.0)
    return RemotePlanner(server, config)


@contextlib.contextmanager
def _ros(args: argparse.Namespace) -> "Iterator[Robot]":
    """A robot on the ROS graph of ROS_DOMAIN_ID."""
    try:
        from emu_planner.cli.console_ros import RosRobot
    except ImportError as error:
        raise ValueError(f"ROS 2 or emu_planner_msgs is not installed ({error}); run `make setup`") from error
    cameras = tuple(name for name in args.cameras.split(",") if name)
    with RosRobot(args.robot, cameras) as robot:
        yield robot
