"""One process of a team, as torchrun starts it: a few steps of a tiny language model on a CPU.

    python -m tests.training.team_member FOLDER

Runs each case of FOLDER/cases.json one after the other: {"out", "way", "optimiser", "steps", "port"}.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.training.distributed import Team, team
from emu_planner.training.language import LanguageTraining, train_language
from emu_planner.training.packing import Sample

ROWS, CONTEXT, CPU = 4, 12, torch.device("cpu")


def samples() -> Iterator[Sample]:
    """Each fills a row; the second half of every four counts little, so that a mean of means is wrong."""
    rng = np.random.default_rng(0)
    for number in range(10**6):
        ids = (np.arange(CONTEXT) * (1 + number % 3) + rng.integers(5)).astype(np.int32) % 20
        yield Sample(ids, np.full(CONTEXT, 1.0 if number % 4 < 2 else 0.125, np.float32))


def learn(out: Path, optimiser: str, steps: int, member: Team | None = None) -> Transformer:
    """Train from where `out` stands to `steps`, this process's part of every step's four samples."""
    config = LanguageTraining(
        out, steps=steps, context=CONTEXT, rows=ROWS, rate=0.01, optimiser=optimiser, warm_up=1,
        validate_every=0, save_every_s=1e9,
    )  # fmt: skip
    model = Transformer(TransformerConfig(20, 32, 48, 2, 2, 1, 16))
    model.initialise(0)
    rank, share = (member.rank, ROWS // member.size) if member else (0, ROWS)
    own = (s for n, s in enumerate(samples()) if n % ROWS // share == rank)

    def save(learned: Transformer) -> None:
        torch.save(learned.state_dict(), out / "saved.pt")

    held_out = list(islice(samples(), 2 - rank))
    # in float32, so that no rounding hides a difference
    with mock.patch.object(torch, "autocast", return_value=nullcontext()):
        return train_language(
            config, model, own, held_out, pad=0, first_visual=10, device=CPU, save=save, team=member
        )


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for case in json.loads((folder / "cases.json").read_text()):
        os.environ["MASTER_PORT"] = str(case["port"])
        with team(case["way"], CPU) as member:
            learn(folder / case["out"], case["optimiser"], case["steps"], member)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
