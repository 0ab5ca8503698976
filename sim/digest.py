"""SHA-256 of what an episode holds: one for its words and states, one for the pixels of each picture.

Pixels, not files: a picture keeps its digest in every lossless format. Knows no simulator.
"""

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray


def of_picture(rgb: NDArray[np.uint8]) -> str:
    """Hex digest of a picture [H, W, 3] uint8 RGB, its size included."""
    height, width, channels = rgb.shape
    head = f"{height} {width} {channels} uint8\n".encode()
    return hashlib.sha256(head + np.ascontiguousarray(rgb).tobytes()).hexdigest()


def of_record(line: dict[str, Any]) -> str:
    """Hex digest of a record; where its pictures lie, and its digests, do not count."""
    return of_json({key: value for key, value in line.items() if key not in ("frames", "sha256")})


def of_json(value: Any) -> str:
    """Hex digest of JSON data: the order of keys and the white space do not count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
