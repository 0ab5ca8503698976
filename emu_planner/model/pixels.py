"""Pictures as the published code gives them to the vision tokenizer, and takes them back.

The size rule keeps the aspect ratio at a given area; resizing is the antialiased bicubic of the
published code's imaging library, to the bit: another one moves codes. Knows no model and no file.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rgb = NDArray[np.uint8]

_CUBIC = -0.5  # the parameter a of Keys' kernel (1981)
_BITS = 22  # of the fraction in the fixed-point weights


def token_size(width: int, height: int, area: int, multiple: int = 16) -> tuple[int, int]:
    """Width and height, px, for a picture of this width and height.

    Args:
        area: about how many pixels the result has; published: 512 x 512, 720 x 720 or 1024 x 1024.
        multiple: of which both sides are; the tokenizer's downsampling.

    Raises:
        ValueError: the picture is so long and thin that a side would vanish.
    """
    aspect = width / height
    new_height = int((area / aspect) ** 0.5)
    new_width = int(new_height * aspect)
    sides = [(side + multiple // 2) // multiple * multiple for side in (new_width, new_height)]
    if min(sides) < multiple:
        raise ValueError(
            f"a picture of {width}x{height} px is too long for an area of {area} px: a side would be "
            f"under {multiple} px"
        )
    return sides[0], sides[1]


def resize(rgb: Rgb, width: int, height: int) -> Rgb:
    """[H, W, 3] -> [height, width, 3], antialiased bicubic: rows first, then columns, each rounded."""
    across = _resize_rows(rgb, width)
    return _resize_rows(across.transpose(1, 0, 2), height).transpose(1, 0, 2)


def to_input(rgb: Rgb) -> Tensor:
    """[H, W, 3] 0..255 -> [1, 3, H, W] float32 in [-1, 1], divided in float64 as published."""
    return torch.from_numpy((rgb / 127.5 - 1.0).astype(np.float32)).permute(2, 0, 1)[None]


def to_rgb(image: Tensor) -> Rgb:
    """[3, H, W] in about [-1, 1] -> [H, W, 3] 0..255, cut off, not rounded, as published."""
    pixels = ((image.float() + 1) * 127.5).clamp(0, 255)
    return pixels.permute(1, 2, 0).to(torch.uint8).cpu().numpy()


def _resize_rows(rgb: Rgb, width: int) -> Rgb:
    """[H, W, 3] -> [H, width, 3]."""
    old = rgb.shape[1]
    if old == width:
        return rgb
    columns, weights = _weights(old, width)
    total = np.full((rgb.shape[0], width, rgb.shape[2]), 1 << (_BITS - 1), np.int64)
    for tap in range(columns.shape[1]):
        total += rgb[:, columns[:, tap]] * weights[:, tap, None]
    return np.clip(total >> _BITS, 0, 255).astype(np.uint8)


def _weights(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each new pixel its source pixels [new, taps] and their weights, as multiples of 2^-22."""
    scale = old / new
    stretch = max(scale, 1.0)  # the kernel widens when shrinking: that is the antialiasing
    support = 2.0 * stretch
    centres = (np.arange(new) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + support + 0.5).astype(np.int64), old)
    columns = first[:, None] + np.arange(math.ceil(support) * 2 + 1)
    weights = _keys((columns - centres[:, None] + 0.5) / stretch)
    weights[columns >= end[:, None]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    rounded = np.trunc(weights * (1 << _BITS) + np.copysign(0.5, weights)).astype(np.int64)
    return np.minimum(columns, old - 1), rounded


def _keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel."""
    x, a = np.abs(x), _CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
