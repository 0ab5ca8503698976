"""Camera commands in words, and back: around the table, nearer, farther, up and down."""

import re
from dataclasses import dataclass

import numpy as np

from sim.language.grammar import match
from sim.language.lessons.phrases import things

# By what moves: {n} degrees
TEMPLATES: dict[str, tuple[str, ...]] = {
    "left": ("go {n} degrees to the left", "walk left around the table by {n} degrees", "{n} degrees left"),
    "right": (
        "go {n} degrees to the right",
        "walk right around the table by {n} degrees",
        "{n} degrees right",
    ),
    "nearer": ("step nearer", "come closer", "go towards the table"),
    "farther": ("step back", "go farther away", "go away from the table"),
    "up": ("raise the camera", "look from higher up", "go up"),
    "down": ("lower the camera", "look from lower down", "go down"),
}
TURNS = ("left", "right")
COMMANDED = (
    "Under my instructions explore a table: {commands}.",
    "Explore the table as I say: {commands}.",
    "Walk around the table with these commands: {commands}.",
)
FREE = (
    "Explore this table freely in {n} steps and come back to the start.",
    "Walk around the table as you like, {n} steps, and end where you began.",
    "Look at the table from all sides in {n} steps and return.",
)
SCENE = " On the table there are {things}."
_SEPARATOR = "; "


@dataclass(frozen=True)
class Command:
    """One step of the camera: one of TEMPLATES, with degrees where it turns."""

    move: str
    degrees: int = 0


def word(command: Command, paraphrase: int = 0) -> str:
    """The command; `paraphrase` counts through the templates."""
    templates = TEMPLATES[command.move]
    return templates[paraphrase % len(templates)].format(n=command.degrees)


def parse(text: str) -> Command | None:
    """The command that a text gives, or None when the grammar does not know it."""
    for move, templates in TEMPLATES.items():
        for template in templates:
            slots = match(template, text)
            turn = "0" if slots is None else slots.get("n", "0")
            # a turn that leads nowhere is no command
            if slots is not None and turn.isdecimal() and ("n" not in slots or int(turn) % 360):
                return Command(move, int(turn))
    return None


def word_question(
    said: list[str], rng: np.random.Generator, *, free: bool, seen: list[tuple[str, str]] | None
) -> str:
    """One paraphrase.

    Args:
        said: the commands in words.
        free: they are not told, only how many.
        seen: (colour, kind) of what is there, told where no picture shows it.
    """
    templates = FREE if free else COMMANDED
    template = templates[int(rng.integers(len(templates)))]
    question = template.format(n=len(said), commands=_SEPARATOR.join(said))
    return question + (SCENE.format(things=things(seen)) if seen else "")


def parse_question(text: str) -> list[Command] | int | None:
    """The commands that are told, or how many steps are asked for; None: not understood."""
    text = re.sub(r" On the table there are .*\.$", "", text)
    for template in COMMANDED:
        begin, end = template.split("{commands}")
        if text.startswith(begin) and text.endswith(end):
            read = [parse(part) for part in text[len(begin) : len(text) - len(end)].split(_SEPARATOR)]
            return [command for command in read if command] if all(read) else None
    for template in FREE:
        found = re.fullmatch(re.escape(template).replace(r"\{n\}", r"(\d+)"), text)
        if found:
            return int(found[1])
    return None
