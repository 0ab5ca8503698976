"""Pictures to and from files: rgb [H, W, 3] uint8 on this side, PNG or JPEG on the other."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]


def read_picture(path: Path | str) -> Rgb:
    """A picture file as rgb. ValueError: it is missing, or is no picture."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give a PNG or JPEG picture")
    bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if bgr is None:
        raise ValueError(f"{path} cannot be read as a picture; give a PNG or JPEG file")
    return np.ascontiguousarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def write_picture(path: Path, rgb: Rgb) -> None:
    """Write rgb; the name's ending says how it is compressed. OSError: it cannot be written."""
    written, data = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not written:
        raise OSError(f"a picture of shape {list(rgb.shape)} cannot be written as {path.suffix}")
    path.write_bytes(data.tobytes())
