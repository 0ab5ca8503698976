"""The demo's live table: step, words, keyframe progress, state, time. Plain lines off a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from emu_planner.cli.record import StepRecord, outcome_words, seconds_words

_STATE_STYLES = {
    "planning": "magenta",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "expired": "red",
}
_OVER = ("succeeded", "failed", "expired", "skipped", "rejected")
# lines of the terminal around the rows, some of which take two
_MARGIN_LINES = 12


class LiveTable:
    """Shows steps while they are made and carried out.

    Args:
        title: the task.
        console: where to; a terminal gets a table that redraws, anything else gets lines.
    """

    def __init__(self, title: str, console: Console) -> None:
        self._title, self._console = title, console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._told: set[tuple[int, str]] = set()

    def __enter__(self) -> "LiveTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, steps: Sequence[StepRecord], note: str) -> None:
        """Draw the present state, the newest steps of it; `note` says what happens now."""
        if self._console.is_terminal:
            newest = steps[-max(3, self._console.height - _MARGIN_LINES) :]
            self._live.update(self._table(newest, note), refresh=True)
        else:
            self._tell(steps)

    def finish(self, steps: Sequence[StepRecord], note: str) -> None:
        """Leave all steps standing."""
        if self._console.is_terminal:
            self._live.stop()
            self._console.print(self._table(steps, note))
        else:
            self._tell(steps)

    def _table(self, steps: Sequence[StepRecord], note: str) -> Table:
        table = Table(title=Text(self._title), caption=note, title_style="bold", box=box.SIMPLE_HEAD)
        table.expand = True
        table.add_column("#", justify="right", style="dim", no_wrap=True)
        table.add_column("step", ratio=5)
        table.add_column("keyframe", ratio=2, min_width=12)
        table.add_column("state", ratio=2)
        table.add_column("planned", justify="right", no_wrap=True)
        table.add_column("executed", justify="right", no_wrap=True)
        for step in steps:
            share = ProgressBar(1.0, step.keyframe_share, complete_style="magenta", finished_style="magenta")
            table.add_row(
                str(step.index + 1),
                Text(step.words),
                share,
                Text(outcome_words(step), _STATE_STYLES.get(step.state, "")),
                seconds_words(step.planned_s),
                seconds_words(step.executed_s),
            )
        return table

    def _tell(self, steps: Sequence[StepRecord]) -> None:
        """One line for each thing that is new."""
        for step in steps:
            number = f"step {step.index + 1}"
            if step.words_s is not None:
                self._line(step, "words", f"{number}: {step.words} ({seconds_words(step.words_s)})")
            if step.keyframe_s is not None:
                self._line(step, "keyframe", f"{number}: keyframe ({seconds_words(step.keyframe_s)})")
            if step.state in _OVER:
                spent = seconds_words(step.executed_s)
                self._line(step, "outcome", f"{number}: {outcome_words(step)} ({spent})")

    def _line(self, step: StepRecord, stage: str, text: str) -> None:
        if (step.index, stage) not in self._told:
            self._told.add((step.index, stage))
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
