"""`emu-planner demo`: a simulated robot, the planner node and the service, driven like an operator would.

Starts the processes, sends one goal, shows what comes of it, and leaves pictures and a page. Here
the rooms meet as processes: nothing of model or simulator is imported.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from emu_planner.cli.page import remove_results, write_results
from emu_planner.cli.pictures import Rgb, read_picture
from emu_planner.cli.processes import Children, MemoryWatch, free_domain, free_port
from emu_planner.cli.record import DemoError, DemoRecord, seconds_words
from emu_planner.cli.service import wait_for_service
from emu_planner.cli.table import LiveTable

if TYPE_CHECKING:
    from emu_planner.cli.goal_client import GoalClient

# the oracle does all
FAMILIES = (
    *("stack", "order", "pyramid", "unstack"),
    *("container", "empty", "swap"),
    *("sort", "kinds", "zone", "relate", "between", "row"),
    *("drawer_put", "drawer_get", "cabinet_put", "cabinet_get", "button"),
    *("push", "push_place"),
    *("chain", "kitchen", "restore"),
)
ROBOTS = ("panda", "kuka", "xarm", "mobile")
# what leads a knob or pushes a crate, and who can
_LED = ("drawer_put", "drawer_get", "cabinet_put", "cabinet_get", "button", "push", "push_place", "kitchen")
_LEADERS = ("panda", "xarm")
_CAMERAS = ("front", "side")
# how long a process may take to be ready, s
_READY_S = 60.0
_REDRAW_S = 0.1
# the same scene gives the same plan
_PLAN_SEED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.epilog = (
        "Exit status: 0 when a plan with keyframes came over ROS and the page was written, else 1; "
        "2 wrong arguments."
    )
    parser.add_argument("--task", default="", help="what to do, in one sentence (default: the scene's task)")
    parser.add_argument(
        "--scene",
        choices=FAMILIES,
        metavar="FAMILY",
        help="kind of scene (default: stack): stack, container, sort or zone, which nano learned; with "
        f"--oracle any of {', '.join(FAMILIES)}",
    )
    parser.add_argument("--robot", choices=ROBOTS, help="who acts in it (default: panda)")
    parser.add_argument("--seed", type=int, help="draws the scene (default: one never seen in training)")
    parser.add_argument("--no-execute", action="store_true", help="plan only; the arm does not move")
    parser.add_argument(
        "--image", metavar="FILE", help="a picture of your own instead of the simulator; needs --task"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument(
        "--checkpoint", metavar="nano|FOLDER|HUB-ID", help="what the service plans with (default: nano)"
    )
    parser.add_argument(
        "--oracle",
        action="store_true",
        help="the simulator's oracle plans instead of a model: it knows the scene and shows the whole path",
    )
    parser.add_argument("--server", metavar="HOST:PORT", help="use this service instead of starting one")
    parser.add_argument(
        "--attach",
        action="store_true",
        help="start nothing: use service, planner node and simulator that run already",
    )
    parser.add_argument(
        "--namespace", default="", help="ROS namespace of nodes and topics, with --attach (default: none)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo. 0: a plan with keyframes and the page are there."""
    console = Console()
    try:
        _check_arguments(args)
        picture = read_picture(args.image) if args.image else None
        args.out.mkdir(parents=True, exist_ok=True)
        remove_results(args.out)
    except (OSError, ValueError) as error:
        print(f"emu-planner demo: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        # like Ctrl-C: every context below stops what it started
        signal.signal(number, signal.default_int_handler)
    try:
        record = demonstrate(args, picture, console)
    except DemoError as error:
        print(f"emu-planner demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("emu-planner demo: stopped", file=sys.stderr)
        return 130
    page = write_results(record, args.out)
    _tell(record, page, console)
    return 0 if record.has_plan else 1


def demonstrate(args: argparse.Namespace, picture: Rgb | None, console: Console) -> DemoRecord:
    """Everything from the first process to the action's result.

    Raises:
        DemoError: a process does not start, or ends, or does not answer.
    """
    environment = _choose_graph(args)
    with Children(args.out / "logs", environment) as children, MemoryWatch(children) as memory:
        server = _start(args, children, simulated=picture is None)
        if server:
            wait_for_service(server, children, console)
        with _open_client(args, children, environment, picture) as client:
            record = _prepare(args, picture, client, console)
            _drive(record, client, console)
            if picture is None:
                record.conditions = client.evaluate()["conditions"]
        children.check()
        record.service_mb, record.all_mb = memory.peak_mb("service"), memory.peak_all_mb
    return record


def _check_arguments(args: argparse.Namespace) -> None:
    """ValueError: arguments that do not fit together."""
    for name in ("scene", "robot", "seed", "image", "server", "checkpoint"):
        if args.attach and getattr(args, name) is not None:
            raise ValueError(f"--{name} is for processes that this starts; leave out --attach or --{name}")
    for name in ("scene", "robot", "seed"):
        if args.image and getattr(args, name) is not None:
            raise ValueError(f"--{name} is for a simulated scene; leave out --image or --{name}")
    if args.scene in _LED and args.robot not in (None, *_LEADERS):
        raise ValueError(
            f"a {args.robot} can neither lead a knob nor push, as --scene {args.scene} needs; "
            f"expected --robot {' or '.join(_LEADERS)}"
        )
    if args.oracle and (args.attach or args.image or args.server is not None or args.checkpoint is not None):
        raise ValueError(
            "--oracle plans for the simulated scene that this starts; leave out --attach, --image, --server "
            "and --checkpoint, or --oracle"
        )
    if args.server is not None and args.checkpoint is not None:
        raise ValueError("the service at --server has its own checkpoint; leave out --checkpoint")
    if args.namespace and not args.attach:
        raise ValueError("--namespace is for --attach")
    if args.image and not args.task.strip():
        raise ValueError("a picture of your own has no task yet; say it with --task")
    if args.seed is not None and args.seed < 0:
        raise ValueError(f"seed {args.seed} is negative; expected 0 or more")


def _choose_graph(args: argparse.Namespace) -> dict[str, str]:
    """Variables that give the demo a ROS graph of its own, unless told which one to join."""
    environment: dict[str, str] = {}
    if not args.attach:
        environment["ROS_LOG_DIR"] = str((args.out / "logs" / "ros").resolve())
        if "ROS_DOMAIN_ID" not in os.environ:
            environment["ROS_DOMAIN_ID"] = str(free_domain())
        if "ROS_AUTOMATIC_DISCOVERY_RANGE" not in os.environ:
            environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return environment


def _start(args: argparse.Namespace, children: Children, *, simulated: bool) -> str:
    """Start what is to be started; returns the service's address, empty when attached."""
    if args.attach:
        return ""
    scene = {
        name: str(value) for name in ("scene", "robot", "seed") if (value := getattr(args, name)) is not None
    }
    server: str = args.server
    if server is None:
        port = free_port()
        server = f"127.0.0.1:{port}"
        if args.oracle:
            words = [word for name, value in scene.items() for word in (f"--{name}", value)]
            children.start("service", "emu_planner.cli.oracle_service", "--port", str(port), *words)
        else:
            model = ("--checkpoint", args.checkpoint or "nano")
            children.start("service", "emu_planner.cli.main", "serve", "--port", str(port), *model)
    # a simulated camera and a picture of one's own have no noise: what stands still looks frozen
    rig = _ros_args(server=server, camera_frozen_after="0.0")
    children.start("planner node", "emu_planner.ros.planner_node", *rig)
    if simulated:
        if "scene" in scene:
            scene["family"] = scene.pop("scene")
        children.start("simulator", "sim.ros_node", *_ros_args(**scene))
    return server


def _ros_args(**parameters: str) -> list[str]:
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    return ["--ros-args", *arguments]


@contextlib.contextmanager
def _open_client(
    args: argparse.Namespace, children: Children, environment: dict[str, str], picture: Rgb | None
) -> "Iterator[GoalClient]":
    os.environ.update(environment)
    try:
        from emu_planner.cli.goal_client import GoalClient
    except ImportError as error:
        raise DemoError(f"ROS 2 or emu_planner_msgs is not installed ({error}); run `make setup`") from error
    cameras = _CAMERAS if picture is None else _CAMERAS[:1]
    with GoalClient(cameras, children.check, args.namespace) as client:
        if picture is not None:
            client.publish_picture(picture)
        yield client


def _prepare(
    args: argparse.Namespace, picture: Rgb | None, client: "GoalClient", console: Console
) -> DemoRecord:
    """Wait for cameras and planner, and find out what the task is."""
    client.wait_for_pictures(_READY_S)
    source, task = f"picture {args.image}", args.task.strip()
    if picture is None:
        scene = client.evaluate(_READY_S)["scene"]
        source = f"{scene['family']} scene {scene['seed']}, robot {scene['robot']}"
        task = task or scene["instruction"]
    console.print(f"cameras: {source}", highlight=False)
    if args.attach:
        client.wait_for_planner(_READY_S)
    else:
        client.activate_planner(_READY_S)
    console.print("planner node: active", highlight=False)
    planner = "a running service" if args.attach else args.server or args.checkpoint or "nano"
    if args.oracle:
        planner = "the simulator's oracle, no model"
    return DemoRecord(task, source, str(planner), executed=picture is None and not args.no_execute)


def _drive(record: DemoRecord, client: "GoalClient", console: Console) -> None:
    """Send the goal and follow it to its result."""
    from emu_planner.cli.goal_client import error_of

    client.send(record.task, closed_loop=record.executed, seed=_PLAN_SEED)
    begun_s, result = time.monotonic(), None
    with LiveTable(record.task, console) as table:
        try:
            while result is None:
                result = client.result(_REDRAW_S)
                table.show(client.steps(), f"{time.monotonic() - begun_s:.1f} s, {client.phase}")
        except KeyboardInterrupt:
            client.cancel()
            raise
        record.steps = client.finish(result)
        table.finish(record.steps, f"{time.monotonic() - begun_s:.1f} s")
    total = result.total_time
    record.plan_s = total.sec + total.nanosec / 1e9
    record.first_words_s, record.first_keyframe_s = client.first_words_s, client.first_keyframe_s
    record.finish, record.error = result.plan.finish_reason, error_of(result)


def _tell(record: DemoRecord, page: Path, console: Console) -> None:
    """The figures of the run, for people."""
    planning = sum(step.planned_s or 0.0 for step in record.steps)
    lines = [
        f"first words {seconds_words(record.first_words_s)}, first keyframe "
        f"{seconds_words(record.first_keyframe_s)}, whole plan {seconds_words(record.plan_s)} "
        f"(planning {seconds_words(planning)})"
    ]
    if record.all_mb is not None:
        service = "" if record.service_mb is None else f"service {record.service_mb:.0f} MB, "
        lines.append(f"peak memory: {service}all processes {record.all_mb:.0f} MB")
    lines.append(f"written: {page}, {page.parent / 'contact_sheet.png'}")
    if record.error:
        lines.insert(0, f"the plan failed: {record.error}")
    elif not record.has_plan:
        lines.insert(0, "no whole plan with keyframes came")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    style = {True: "bold green", False: "bold red", None: ""}[record.succeeded]
    console.print(record.verdict, highlight=False, markup=False, style=style)
