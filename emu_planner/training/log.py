"""A run's figures: one JSON object a line in a file, and a short line on the terminal."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


class RunLog:
    """Appends to `<folder>/log.jsonl`; the curves are drawn from that file.

    Args:
        folder: of the run; made if it is missing.
        every_s: seconds between two lines on the terminal.
    """

    def __init__(self, folder: Path, every_s: float = 10.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "log.jsonl").open("a", buffering=1)
        self._every_s, self._shown_s = every_s, 0.0
        self._started_s = time.monotonic()

    def write(self, step: int, figures: Mapping[str, float | Tensor], *, force: bool = False) -> None:
        """Record the figures of one step; `force` shows them at once."""
        elapsed_s = time.monotonic() - self._started_s
        values = {name: round(float(value), 6) for name, value in figures.items()}
        row = {"step": step, "elapsed_s": round(elapsed_s, 2), **values}
        self._file.write(json.dumps(row) + "\n")
        if force or elapsed_s - self._shown_s >= self._every_s:
            self._shown_s = elapsed_s
            shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            print(f"[{elapsed_s:6.0f} s] step {step:6d}  {shown}", flush=True)

    def say(self, text: str) -> None:
        """A line for whoever watches; it is not recorded."""
        print(text, flush=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
