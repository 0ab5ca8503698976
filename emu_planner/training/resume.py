"""A run's saved state: written whole or not at all, read without running code from the file."""

import os
from pathlib import Path

import torch


def save_state(folder: Path, state: dict) -> None:
    """Write state.pt; a crash in the middle leaves the old one."""
    part = folder / "state.pt.part"
    torch.save(state, part)
    os.replace(part, folder / "state.pt")


def load_state(folder: Path, device: torch.device) -> dict | None:
    """The saved state, or None when the run is new."""
    path = folder / "state.pt"
    if not path.exists():
        return None
    return torch.load(path, map_location=device, weights_only=True)
