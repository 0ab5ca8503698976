"""`emu-planner`: one word for each thing one does with it.

Imports the module of the chosen subcommand and no other: asking a service for a plan must not
load torch. Each module has `add_arguments(parser)` and `run(args) -> int`, the exit status.
"""

import argparse
import importlib
import sys
from collections.abc import Container, Sequence

COMMANDS = {
    "demo": "a simulated robot is given a task and carries out the plan, all in one terminal",
    "serve": "run the model behind a socket, for robots and other clients",
    "plan": "plan from pictures on disk: steps as JSON lines, keyframes as PNG",
    "bench": "measure plans on held-out scenes of the simulator",
    "train": "train the vision tokenizer or the language model",
    "tokens": "say who may call a service",
    "generate": "pictures and stories of words and pictures, from prompts",
    "view": "show stories: numbered files, a page, a video",
    "console": "the operator's page: watch a robot, say what it shall do, review its plan step by step",
    "bag": "record a planning session as a rosbag2 file; replay it, show it",
    "data": "write training episodes from the simulator, export and check them",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    args = make_parser(given[:1]).parse_args(given)
    return int(importlib.import_module(f"emu_planner.cli.{args.command}").run(args))


def make_parser(loaded: Container[str]) -> argparse.ArgumentParser:
    """The parser, with the arguments of those subcommands only whose module may be imported."""
    parser = argparse.ArgumentParser(
        prog="emu-planner",
        description="Plans robot tasks: camera frames and one sentence in, subgoals and keyframes out.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in loaded:
            importlib.import_module(f"emu_planner.cli.{name}").add_arguments(subparser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
