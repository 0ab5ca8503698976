"""`emu-planner tokens`: who may call a service. The file holds hashes; a token is shown once."""

import argparse
import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from emu_planner.cli.arguments import positive
from emu_planner.service.access import Client, hash_token, new_token, read_clients

_HEADER = "# name  sha256-of-the-token  sessions=N  calls_per_minute=N\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """add, remove and list."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="make a token and print it, once")
    add.add_argument("name", help="who gets it: letters, digits, '.', '_', '-'")
    add.add_argument("--sessions", type=positive, metavar="N", help="most sessions at once")
    add.add_argument("--calls-per-minute", type=positive, metavar="N", help="most plans begun in a minute")
    remove = actions.add_parser("remove", help="withdraw a token; a running service obeys at once")
    remove.add_argument("name")
    show = actions.add_parser("list", help="names and limits")
    for action in (add, remove, show):
        action.add_argument("--file", type=Path, required=True, help="the file that serve --tokens reads")


def run(args: argparse.Namespace) -> int:
    """0: done. 2: wrong name or file, said in words."""
    try:
        clients = read_clients(args.file) if args.file.exists() else []
        names = [client.name for client in clients]
        if args.action == "list":
            for client in clients:
                print(f"{client.name}  {_limits(client) or 'no limits'}")
            return 0
        if args.action == "remove":
            if args.name not in names:
                raise ValueError(f"{args.file} has no {args.name!r}; it has {names}")
            _write(args.file, [client for client in clients if client.name != args.name])
            return 0
        if args.name in names:
            raise ValueError(f"{args.file} has {args.name!r} already; remove it first")
        token = new_token()
        fresh = Client(args.name, hash_token(token), args.sessions or 0, args.calls_per_minute or 0)
        _write(args.file, [*clients, fresh])
    except (ValueError, OSError) as error:
        print(f"emu-planner tokens: {error}", file=sys.stderr)
        return 2
    print(token)
    return 0


def _limits(client: Client) -> str:
    limits = {"sessions": client.sessions, "calls_per_minute": client.calls_per_minute}
    return " ".join(f"{name}={value}" for name, value in limits.items() if value)


def _write(path: Path, clients: list[Client]) -> None:
    """Replace the file whole: a running service never sees half of it.

    A new file is readable by its owner alone; one that is there keeps its owner and mode, so that a
    service of another user still reads it.
    """
    lines = [f"{c.name} {c.digest} {_limits(c)}".rstrip() + "\n" for c in clients]
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            if path.exists():
                status = path.stat()
                os.fchmod(handle, stat.S_IMODE(status.st_mode))
                os.fchown(handle, status.st_uid, status.st_gid)
            file.write(_HEADER + "".join(lines))
        read_clients(Path(part))  # what is written can be read: a wrong name is found here
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
