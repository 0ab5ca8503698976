"""Pictures as the published code gives them to the vision tokenizer, and takes them back.

Another resize moves codes: bicubic with antialiasing in 22-bit fixed point, bit for bit what Pillow
11 computes (Keys 1981 with a = -0.5, stretched when shrinking; across, rounded to 8 bits, then
down). Knows no model and no file.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rgb = NDArray[np.uint8]

_A = -0.5  # of the cubic convolution kernel
_SUPPORT = 2.0  # half its width, input pixels
_BITS = 22  # of the fixed-point weights


def fit_area(height: int, width: int, area: int, multiple: int = 16) -> tuple[int, int]:
    """The size (height, width) of about `area` pixels, both sides multiples (at least one).

    Published as smart_resize: the sides are cut to whole pixels and rounded to the nearest
    multiple. There a very long picture gets a side of 0; here one multiple is the least.

    Args:
        area: published: 512 x 512, 720 x 720 or 1024 x 1024.
        multiple: the tokenizer's downsampling.
    """
    aspect = width / height
    high = int((area / aspect) ** 0.5)
    wide = int(high * aspect)
    high, wide = ((side + multiple // 2) // multiple * multiple for side in (high, wide))
    return max(high, multiple), max(wide, multiple)


def resize_bicubic(rgb: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """[H, W, 3] uint8 -> [height, width, 3] uint8."""
    across = _resize_rows(rgb.transpose(1, 0, 2), width)
    return _resize_rows(across.transpose(1, 0, 2), height)


def to_input(rgb: Rgb) -> Tensor:
    """[H, W, 3] 0..255 -> [1, 3, H, W] float32 in [-1, 1], divided in float64 as published."""
    return torch.from_numpy((rgb / 127.5 - 1.0).astype(np.float32)).permute(2, 0, 1)[None]


def to_rgb(image: Tensor) -> Rgb:
    """[3, H, W] in about [-1, 1] -> [H, W, 3] 0..255, cut off, not rounded, as published."""
    pixels = ((image.float() + 1) * 127.5).clamp(0, 255)
    return pixels.permute(1, 2, 0).to(torch.uint8).cpu().numpy()


def _resize_rows(rows: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize the first axis; the others stay."""
    if len(rows) == size:
        return rows
    places, weights = _window(len(rows), size)
    # 255 times the sum of the weights' magnitudes stays below 2^31
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    total = np.full((size, flat.shape[1]), 1 << (_BITS - 1), np.int32)
    for tap in range(places.shape[1]):
        total += flat[places[:, tap]] * weights[:, tap, None]
    return (total >> _BITS).clip(0, 255).astype(np.uint8).reshape(size, *rows.shape[1:])


def _window(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """For each new place the old ones that it is made of, and their fixed-point weights."""
    scale = before / after
    stretch = max(scale, 1.0)
    support = _SUPPORT * stretch
    places = np.zeros((after, 2 * math.ceil(support) + 1), np.intp)
    weights = np.zeros(places.shape, np.int32)
    for index in range(after):
        centre = (index + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        stop = min(int(centre + support + 0.5), before)
        taps = np.arange(first, stop)
        kernel = _cubic((taps + 0.5 - centre) / stretch)
        fixed = kernel / kernel.sum() * (1 << _BITS)
        places[index, : len(taps)] = taps
        weights[index, : len(taps)] = np.trunc(fixed + np.copysign(0.5, fixed))
    return places, weights


def _cubic(x: NDArray[np.floating]) -> NDArray[np.floating]:
    x = np.abs(x)
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
