"""How well vision tokenizers keep pictures: quality after the round trip, all over and at things.

    python -m tools.measure_tokenizer --data FOLDER --checkpoint nano --checkpoint RUN/checkpoint

FOLDER holds episodes (emu-planner data sim) that none of them was trained on; the same pictures go through
each. Things are what lies within 8 px of an edge (training/tokenizer.py): on a large plain table they are
what counts, and the whole picture's figure hides them; their interval is 95%, over pictures, by bootstrap.
--sheet shows some pictures, and below each its round trip by every tokenizer in turn.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from emu_planner.model.checkpoint import load_vision_tokenizer, resolve
from emu_planner.training.frames import load_frames, to_model
from emu_planner.training.tokenizer import things
from sim.lessons.data import open_reader

_BATCH = 16
_DRAWS = 2000


@dataclass(frozen=True)
class Kept:
    """What one tokenizer keeps of the pictures."""

    name: str
    # codes of a picture
    codes: int
    # different codes in all pictures
    used: int
    # decibel over all pixels, and over those near an edge with its interval
    psnr: float
    psnr_things: float
    low: float
    high: float


def round_trip(checkpoint: str, images: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pictures [N, 3, H, W] in [-1, 1] as they come back, and their codes [N, h, w]."""
    vision = load_vision_tokenizer(resolve(checkpoint), device=device).eval()
    dtype = next(vision.parameters()).dtype
    out, ids = [], []
    for batch in images.split(_BATCH):
        codes = vision.encode(batch.to(device, dtype))
        ids.append(codes.cpu())
        out.append(vision.decode(codes).float().cpu())
    return torch.cat(out), torch.cat(ids)


def judge(name: str, images: Tensor, out: Tensor, codes: Tensor) -> Kept:
    """The figures of one tokenizer; pictures [N, 3, H, W] in [-1, 1] and their round trips."""
    near = things(images)[:, 0]
    squared = (out - images).square().mean(dim=1)
    at_things, area = (squared * near).sum(dim=(1, 2)).numpy(), near.sum(dim=(1, 2)).numpy()
    draws = np.random.default_rng(0).integers(len(images), size=(_DRAWS, len(images)))
    spread = _decibel(at_things[draws].sum(axis=1) / area[draws].sum(axis=1))
    low, high = np.quantile(spread, (0.025, 0.975))
    return Kept(
        name,
        codes[0].numel(),
        codes.unique().numel(),
        float(_decibel(squared.mean().numpy())),
        float(_decibel(at_things.sum() / area.sum())),
        float(low),
        float(high),
    )


def sheet(images: Tensor, trips: list[Tensor], columns: int) -> NDArray[np.uint8]:
    """Pictures spread over all, one above its round trips: rgb [H, W, 3]."""
    chosen = np.linspace(0, len(images) - 1, columns).astype(int)
    rows = [torch.cat(list(pictures[chosen]), dim=2) for pictures in (images, *trips)]
    grid = torch.cat(rows, dim=1).permute(1, 2, 0)
    shown: NDArray[np.uint8] = ((grid + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    return shown


def _decibel(squared: NDArray[np.float32]) -> NDArray[np.float32]:
    shown: NDArray[np.float32] = 10 * np.log10(4.0 / squared)
    return shown


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of episodes (emu-planner data sim)")
    parser.add_argument("--checkpoint", action="append", default=[], help="one or more (default: nano)")
    parser.add_argument("--pictures", type=int, default=400, help="how many, spread over the folder")
    parser.add_argument("--sheet", type=Path, help="a PNG to look at")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    reader = open_reader(args.data)
    records = [record for name in reader.shards() for record in reader.records(name)]
    records = records[:: max(1, sum(len(record.frames) for record in records) // args.pictures)]
    images = to_model(load_frames(reader, records)[: args.pictures]).contiguous()
    trips, rows = [], []
    for checkpoint in args.checkpoint or ["nano"]:
        out, codes = round_trip(checkpoint, images, torch.device(args.device))
        trips.append(out)
        rows.append(judge(checkpoint, images, out, codes))
    if args.sheet:
        cv2.imwrite(str(args.sheet), cv2.cvtColor(sheet(images, trips, 4), cv2.COLOR_RGB2BGR))
    if args.json:
        for row in rows:
            print(json.dumps(asdict(row)))
        return 0
    table = Table("tokenizer", "codes a picture", "different codes", "PSNR, dB", "at things, dB")
    for row in rows:
        at_things = f"{row.psnr_things:.2f} ({row.low:.2f} to {row.high:.2f})"
        table.add_row(row.name, str(row.codes), str(row.used), f"{row.psnr:.2f}", at_things)
    Console(width=None if sys.stdout.isatty() else 120).print(f"{len(images)} pictures", table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
