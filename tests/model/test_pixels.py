"""The published size rule and resizing. That the bits are right, the golden codes in test_ibq.py show."""

import numpy as np
import pytest
import torch

from emu_planner.model import pixels


@pytest.mark.parametrize(
    ("picture", "area", "expected"),
    [
        ((640, 480), 512 * 512, (592, 448)),
        ((100, 60), 4096, (80, 48)),
        ((512, 512), 512 * 512, (512, 512)),
        ((1920, 1080), 720 * 720, (960, 544)),
        ((48, 4800), 512 * 512, (48, 5120)),
    ],
)
def test_sizes_keep_area_and_aspect(picture, area, expected):
    assert pixels.token_size(*picture, area) == expected


def test_a_picture_without_a_side_is_refused():
    with pytest.raises(ValueError, match="10000x4 px is too long"):
        pixels.token_size(10000, 4, 4096)


def test_a_constant_picture_stays_constant_and_an_equal_size_is_a_copy():
    rgb = np.full((30, 50, 3), 201, np.uint8)
    for size in ((16, 16), (80, 64), (50, 16)):
        assert (pixels.resize(rgb, *size) == 201).all()
        assert pixels.resize(rgb, *size).shape == (size[1], size[0], 3)
    noise = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    assert (pixels.resize(noise, 50, 30) == noise).all()


@pytest.mark.parametrize("size", [(16, 48), (96, 16), (112, 96)])
def test_resizing_is_antialiased_bicubic(size):
    # grey enough that nothing between the two directions is cut off
    rgb = np.random.default_rng(1).integers(96, 160, (64, 80, 3), dtype=np.uint8)
    batch = torch.from_numpy(rgb).permute(2, 0, 1)[None].double()
    other = torch.nn.functional.interpolate(batch, size[::-1], mode="bicubic", antialias=True)
    ours = torch.from_numpy(pixels.resize(rgb, *size)).permute(2, 0, 1)[None]
    assert (ours - other).abs().max() < 2


def test_pixels_come_back_cut_off():
    rgb = np.arange(0, 240, dtype=np.uint8).reshape(8, 10, 3)
    image = pixels.to_input(rgb)
    assert image.dtype == torch.float32
    assert image.shape == (1, 3, 8, 10)
    assert image.min() == -1
    back = pixels.to_rgb(image[0] + 1e-5)
    assert (back == rgb).all()
    assert (pixels.to_rgb(torch.full((3, 2, 2), 1.7)) == 255).all()
    assert (pixels.to_rgb(torch.full((3, 1, 1), 0.9999)) == 254).all()
