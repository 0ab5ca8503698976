"""Kinds of arguments that several subcommands take."""

import argparse


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def counts(text: str) -> list[int]:
    """Such arguments, by commas."""
    try:
        return [positive(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers by commas, as 1,4,16") from None
