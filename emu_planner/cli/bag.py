"""`emu-planner bag record|replay|show|mend`: planning sessions as rosbag2 files.

Only `record` needs a running ROS graph; the others read files.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emu_planner.cli.model import add_model_arguments, load_planner

if TYPE_CHECKING:
    from emu_planner.bags.read import Bag
    from emu_planner.bags.session import Session
    from emu_planner.plan import Planner
    from emu_planner.ros.params import PlannerParams
    from emu_planner.wire.images import ImageConfig

_STATUSES = "Exit status: 0 done, 2 wrong input, 3 the disk, the service or the model failed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    actions = parser.add_subparsers(dest="action", required=True)
    about = "record a planner node, its cameras and its operators until Ctrl-C"
    record = actions.add_parser("record", help=about, description=about, epilog=_STATUSES)
    record.add_argument("folder", type=Path, help="each recording gets a folder of its own below this one")
    record.add_argument("--namespace", default="/", help="of the planner node (default: none)")
    record.add_argument(
        "--rate",
        type=float,
        default=5.0,
        metavar="HZ",
        help="pictures of each camera a second; those that a plan was made from are in the bag in any "
        "case; 0: all (default: 5)",
    )
    record.add_argument(
        "--memory",
        type=int,
        default=256,
        metavar="MB",
        help="for pictures of which it is not known yet whether a plan is made from them (default: 256)",
    )
    record.add_argument(
        "--ros-args", nargs=argparse.REMAINDER, default=[], help="what follows is for ROS: -r FROM:=TO"
    )
    record.set_defaults(do=_record)
    about = "plan again what was recorded, with the same pictures, reviews and outcomes, and compare"
    replay = actions.add_parser(
        "replay",
        help=about,
        description=about,
        epilog="Exit status: 0 all plans are the same, 1 one differs, 2 wrong input or nothing to replay, "
        "3 the service or the model failed.",
    )
    replay.add_argument("bag", type=Path, help="a bag's folder, or its .mcap")
    replay.add_argument("--namespace", help="of the robot, when the bag holds several")
    replay.add_argument(
        "--server", metavar="HOST:PORT", help="a running `emu-planner serve` (default: run the model here)"
    )
    add_model_arguments(replay)
    replay.set_defaults(do=_replay)
    about = "what happened, line by line; with --rerun in the Rerun viewer"
    show = actions.add_parser("show", help=about, description=about, epilog=_STATUSES)
    show.add_argument("bag", type=Path, help="a bag's folder, or its .mcap")
    show.add_argument("--namespace", help="of the robot, when the bag holds several")
    show.add_argument(
        "--rerun",
        nargs="?",
        const="",
        metavar="FILE.rrd",
        help="open the Rerun viewer, or write a file for it (needs the package rerun-sdk)",
    )
    show.set_defaults(do=_show)
    about = "write what is whole of a bag whose recorder was killed into a new one"
    mend = actions.add_parser("mend", help=about, description=about, epilog=_STATUSES)
    mend.add_argument("bag", type=Path, help="the bag's folder, or its .mcap; it stays as it is")
    mend.add_argument("--out", type=Path, help="folder of the new bag (default: BAG-mended)")
    mend.set_defaults(do=_mend)


def run(args: argparse.Namespace) -> int:
    """Do it. Statuses: see the help."""
    try:
        status: int = args.do(args)
        return status
    except ModuleNotFoundError as error:
        where = "requirements/export.txt and requirements/ros.txt"
        print(f"emu-planner bag: the package {error.name} is not installed; see {where}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"emu-planner bag: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"emu-planner bag: {error}", file=sys.stderr)
        return 3


def _record(args: argparse.Namespace) -> int:
    from emu_planner.bags.recorder import RecorderConfig, record

    config = RecorderConfig(args.folder, args.namespace, args.rate, args.memory)
    record(config, args.ros_args, lambda line: print(line, flush=True))
    return 0


def _mend(args: argparse.Namespace) -> int:
    from emu_planner.bags.read import mend

    bag: Path = args.bag
    out = args.out or bag.with_name(f"{bag.stem if bag.is_file() else bag.resolve().name}-mended")
    print(f"{out}: {mend(bag, out)} messages saved of {bag}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from emu_planner.bags.read import open_bag
    from emu_planner.bags.session import read_session
    from emu_planner.bags.timeline import lines_of

    with open_bag(args.bag) as bag:
        session = read_session(bag, args.namespace)
        if args.rerun is not None:
            from emu_planner.bags.rerun_view import view

            view(bag, session, args.rerun)
            return 0
        entries = lines_of(session)
        for entry in entries:
            print(f"{(entry.stamp_ns - entries[0].stamp_ns) / 1e9:9.3f} s  {entry.what:<8}  {entry.words}")
    return 0


def _replay(args: argparse.Namespace) -> int:
    from emu_planner.bags.read import open_bag
    from emu_planner.bags.session import read_session
    from emu_planner.plan import PlanError

    with open_bag(args.bag) as bag:
        session = read_session(bag, args.namespace)
        if not session.goals:
            raise ValueError(f"{args.bag} holds no goal")
        params = session.parameters(session.goals[0].stamp_ns)
        try:
            with _open_planner(args, params) as planner:
                return _replay_goals(bag, session, planner, lossy=args.server is None)
        except PlanError as error:
            print(f"emu-planner bag: {error.message}", file=sys.stderr)
            return 3


def _replay_goals(bag: "Bag", session: "Session", planner: "Planner", *, lossy: bool) -> int:
    from emu_planner.bags.calls import calls_of
    from emu_planner.bags.read import BagError
    from emu_planner.bags.replay import as_sent, replay
    from emu_planner.bags.session import read_frames

    replayed, differs = 0, False
    for goal in session.goals:
        title = f"plan {goal.plan_id.hex()[:8]}"
        try:
            calls = calls_of(session, goal)
            params = session.parameters(goal.stamp_ns)
            wanted = [picture for call in calls for picture in call.pictures]
            frames = read_frames(bag, session, params, wanted)
            if missing := sorted(set(wanted) - set(frames)):
                camera, stamp_s = missing[0]
                raise BagError(f"the picture of {camera} at {stamp_s:.6f} s is not in the bag")
        except BagError as error:
            print(f"{title}: not replayed, {error}")
            continue
        if lossy:
            images = image_config(params)
            frames = {key: as_sent(frame, images) for key, frame in frames.items()}
        found = [one for call in replay(planner, calls, frames) for one in call]
        replayed, differs = replayed + 1, differs or bool(found)
        steps = sum(len(call.steps) for call in calls)
        words = f"{steps} steps in {len(calls)} calls, {calls[0].task.instruction!r}"
        print(f"{title}: {words}: {f'first differs at {found[0]}' if found else 'the same'}", flush=True)
        for difference in found[1:]:
            print(f"  {difference}")
    if not replayed:
        raise ValueError("no goal of the bag can be replayed")
    return 1 if differs else 0


def image_config(params: "PlannerParams") -> "ImageConfig":
    """How the planner node sent its pictures."""
    from emu_planner.wire.images import Encoding, ImageConfig

    return ImageConfig(Encoding[params.frame_encoding.upper()], params.jpeg_quality)


@contextlib.contextmanager
def _open_planner(args: argparse.Namespace, params: "PlannerParams") -> "Iterator[Planner]":
    from emu_planner.wire.client import ClientConfig, RemotePlanner
    from emu_planner.wire.credentials import Credentials

    if args.server is None:
        yield load_planner(args)[0]
        return
    config = ClientConfig(images=image_config(params), credentials=Credentials.from_environment())
    with RemotePlanner(args.server, config) as planner:
        yield planner
