"""What a person sees while stories are generated: bars on a terminal, a line a story elsewhere.

All of it goes to stderr: stdout is for the paths of stories.
"""

import sys
from contextlib import nullcontext
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

_MOST_SHOWN = 100  # letters of a story's words


class Shown:
    """What a person sees on stderr while it goes on: bars on a terminal, a line a story elsewhere."""

    def __init__(self, finished: int, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._number, self._total = finished, total
        columns: list[Any] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f} of at most {task.total:.0f} tokens, {task.fields[rate]}"),
            TimeElapsedColumn(),
        ]
        # rich would send what is printed to stdout to its own console; a file's content is not for it
        redirect = sys.stdout.isatty()
        bars = Progress(*columns, console=self._console, redirect_stdout=redirect)
        self._bars = bars if self._console.is_terminal else None
        self._bar: Any = None

    def __enter__(self) -> "Shown":
        self._context: Any = self._bars or nullcontext()
        self._context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)

    def begin(self, name: str, limit: int) -> None:
        """A story of at most `limit` tokens begins."""
        self._number += 1
        title = f"{name} ({self._number} of {self._total})"
        if self._bars is None:
            self.say(title)
            return
        if self._bar is not None:
            self._bars.remove_task(self._bar)
        self._bar = self._bars.add_task(title, total=limit, rate="")

    def advance(self, tokens: int, limit: int) -> None:
        """It has that many tokens, of at most `limit`."""
        if self._bars is not None:
            speed = self._bars.tasks[0].speed
            rate = "" if speed is None else f"{speed:.1f} a second"
            self._bars.update(self._bar, completed=tokens, total=limit, rate=rate)

    def tell(self, words: str) -> None:
        """Part of a story, for who watches."""
        if self._bars is not None:
            self._console.print(Text(f"  {words}", style="dim"))

    def say(self, words: str) -> None:
        """Something to know about a story."""
        self._console.print(Text(f"emu-planner generate: {words}"), soft_wrap=True)


def shorten(text: str) -> str:
    """One line of a text, for a terminal: what a model wrote may hold signs that steer it."""
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return words if len(words) <= _MOST_SHOWN else words[: _MOST_SHOWN - 3] + "..."
