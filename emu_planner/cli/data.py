"""`emu-planner data sim`: write training episodes from the simulator."""

import argparse

from sim import data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    sources = parser.add_subparsers(dest="source", required=True)
    simulator = sources.add_parser("sim", help="episodes by the simulator's oracle, from training seeds")
    data.add_arguments(simulator)


def run(args: argparse.Namespace) -> int:
    """Write the episodes."""
    return data.run(args)
