"""The command line: what `--help` says, of every subcommand."""

import argparse
import os
from collections.abc import Iterator
from unittest import mock

from emu_planner.cli.main import COMMANDS, make_parser

_WIDTH = "100"


def page() -> str:
    """The whole page."""
    parts = ["# Command line\n\nWhat `--help` says.\n"]
    with mock.patch.dict(os.environ, {"COLUMNS": _WIDTH}):
        for name, parser in parsers(make_parser(COMMANDS)):
            parts.append(f"## {name}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """A parser and all below it, by what one types."""
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)
