"""Tiny models whose weights come from a recipe, and the values that Emu3.5's published code gives.

The recipe: each tensor is drawn from a generator seeded by the CRC of its name, so that no weights
need to be stored.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "data" / "golden"


def values(name: str) -> dict:
    """The parsed JSON file of that name."""
    return json.loads((FOLDER / name).read_text())


def weights(spec: dict) -> dict[str, torch.Tensor]:
    """All tensors of a specification {seed?, weights: {name: shape}}."""
    seed = spec.get("seed", 0)
    return {name: _tensor(name, shape, seed) for name, shape in spec["weights"].items()}


def _tensor(name: str, shape: list[int], seed: int) -> torch.Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()) + seed))
    z = generator.standard_normal(size=shape, dtype=np.float32)
    if len(shape) == 1:
        z = 1 + np.float32(0.1) * z if name.endswith("weight") else np.float32(0.1) * z
    else:
        z = z / np.float32(np.sqrt(np.prod(shape[1:])))
    return torch.from_numpy(z.astype(np.float32))
