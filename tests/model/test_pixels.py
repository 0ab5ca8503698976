"""Pictures are resized to the published size, bit for bit, and come back cut off."""

import zlib

import numpy as np
import pytest
import torch

from emu_planner.model.pixels import fit_area, resize_bicubic, to_input, to_rgb
from tests import golden


def pattern(height, width):
    """A picture [height, width, 3] with hard edges and every level."""
    row, column, channel = np.ogrid[:height, :width, :3]
    return ((row * 7919 + column * 104729 + channel * 1299709) // 7 % 256).astype(np.uint8)


@pytest.mark.parametrize(
    "case", golden.values("resize.json")["cases"], ids=lambda case: f"{case['from']}-{case['to']}"
)
def test_pixels_are_those_of_pillow(case):
    rgb = resize_bicubic(pattern(*case["from"]), *case["to"])
    assert rgb.dtype == np.uint8
    assert list(rgb.shape) == [*case["to"], 3]
    if "rgb" in case:
        assert rgb.tolist() == case["rgb"]
    else:
        assert zlib.crc32(np.ascontiguousarray(rgb).tobytes()) == case["crc32"]


def test_a_picture_of_the_right_size_stays_as_it_is():
    rgb = pattern(7, 5)
    assert np.array_equal(resize_bicubic(rgb, 7, 5), rgb)


@pytest.mark.parametrize(
    ("size", "area", "expected"),
    [
        # 540 and 960 px, 33.75 and 60 tokens
        ((1080, 1920), 518400, (544, 960)),
        ((480, 640), 1048576, (880, 1184)),
        ((512, 512), 1048576, (1024, 1024)),
        ((2048, 2048), 2048 * 2048, (2048, 2048)),
        # 8 px above a multiple are rounded up, 7 are not
        ((104, 104), 104 * 104, (112, 112)),
        ((103, 103), 103 * 103, (96, 96)),
        # the published rule would give this one a width of 0
        ((1000, 5), 4096, (912, 16)),
    ],
)
def test_the_size_is_the_published_one(size, area, expected):
    assert fit_area(*size, area) == expected


def test_another_downsampling_has_other_multiples():
    assert fit_area(100, 100, 100 * 100, 8) == (104, 104)


def test_pixels_come_back_cut_off():
    rgb = np.arange(0, 240, dtype=np.uint8).reshape(8, 10, 3)
    image = to_input(rgb)
    assert image.dtype == torch.float32
    assert image.shape == (1, 3, 8, 10)
    assert image.min() == -1
    back = to_rgb(image[0] + 1e-5)
    assert (back == rgb).all()
    assert (to_rgb(torch.full((3, 2, 2), 1.7)) == 255).all()
    assert (to_rgb(torch.full((3, 1, 1), 0.9999)) == 254).all()
