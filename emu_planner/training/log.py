"""A run's figures: one JSON object a line in a file, a short line on the terminal, and TensorBoard.

TensorBoard's files are written beside where the package tensorboard is installed
(requirements/tensorboard.txt), and not where it is missing: log.jsonl holds the same.
"""

import importlib.util
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


class RunLog:
    """Appends to `<folder>/log.jsonl`; the curves are drawn from that file (tools/draw_curves.py).

    Args:
        folder: of the run; made if it is missing. None: nothing is recorded and nothing said, as in all
            processes of a run but its first.
        every_s: seconds between two lines on the terminal.
    """

    def __init__(self, folder: Path | None, every_s: float = 10.0) -> None:
        self._file, self._board = None, None
        self._every_s, self._shown_s = every_s, 0.0
        self._started_s = time.monotonic()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_cut_line(folder / "log.jsonl")
            self._file = (folder / "log.jsonl").open("a", buffering=1)
            self._board = _open_board(folder / "tensorboard")
            self.say(
                "TensorBoard: off, its package is not installed (requirements/tensorboard.txt)"
                if self._board is None
                else f"TensorBoard: tensorboard --logdir {folder}"
            )

    def write(self, step: int, figures: Mapping[str, float | Tensor], *, force: bool = False) -> None:
        """Record the figures of one step; `force` shows them at once."""
        if self._file is None:
            return
        elapsed_s = time.monotonic() - self._started_s
        values = {name: round(float(value), 6) for name, value in figures.items()}
        row = {"step": step, "elapsed_s": round(elapsed_s, 2), **values}
        self._file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if force or elapsed_s - self._shown_s >= self._every_s:
            self._shown_s = elapsed_s
            shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            print(f"[{elapsed_s:6.0f} s] step {step:6d}  {shown}", flush=True)

    def say(self, text: str) -> None:
        """A line for whoever watches; it is not recorded."""
        if self._file is not None:
            print(text, flush=True)

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _drop_cut_line(path: Path) -> None:
    """Cut off a last line without an end, as a killed run leaves it: the next would run into it."""
    if not path.exists():
        return
    held = path.read_bytes()
    if held and not held.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(held.rfind(b"\n") + 1)


def _open_board(folder: Path) -> Any:
    """A writer of TensorBoard's files; None where its package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
