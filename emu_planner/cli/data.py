"""`emu-planner data sim`: write training episodes from the simulator."""

import argparse

from sim import data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    sources = parser.add_subparsers(dest="source", required=True)
    about = "episodes by the simulator's oracle, from training seeds"
    data.add_arguments(sources.add_parser("sim", help=about, description=about))


def run(args: argparse.Namespace) -> int:
    """Write the episodes; 2 for seeds that are not for training."""
    try:
        return data.run(args)
    except ValueError as error:
        print(f"emu-planner data: {error}")
        return 2
