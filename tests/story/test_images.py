"""Pictures inside stories: each published format, and data that is none, or asks for too much."""

import zlib

import cv2
import numpy as np
import pytest

from emu_planner.story import Image, ImageFormat, StoryError, pack_picture, unpack_picture
from emu_planner.story.images import measure

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def compress(suffix, rgb=RGB, options=()):
    written, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    assert written
    return data.tobytes()


def chunk(kind, body):
    check = zlib.crc32(kind + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + kind + body + check


def png(width, height, rows):
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_comes_back_as_it_was():
    image = pack_picture(RGB)
    assert (image.width, image.height, image.format) == (30, 20, ImageFormat.PNG)
    np.testing.assert_array_equal(unpack_picture(image), RGB)


@pytest.mark.parametrize(
    ("suffix", "kind", "options"),
    [
        (".png", ImageFormat.PNG, ()),
        (".bmp", ImageFormat.BMP, ()),
        (".webp", ImageFormat.WEBP, (cv2.IMWRITE_WEBP_QUALITY, 101)),
        (".webp", ImageFormat.WEBP, (cv2.IMWRITE_WEBP_QUALITY, 80)),
        (".jpg", ImageFormat.JPEG, ()),
    ],
)
def test_every_published_format_is_read_by_its_data(suffix, kind, options):
    smooth = cv2.GaussianBlur(RGB, (0, 0), 5)
    data = compress(suffix, smooth, options)
    assert measure(data) == (kind, 30, 20)
    # whatever its writer declared
    back = unpack_picture(Image(1, 1, ImageFormat.UNKNOWN, data))
    assert np.abs(back.astype(int) - smooth).mean() < 3
    with pytest.raises(StoryError, match=f"{kind.name} picture has 30x20 pixels, more than 599"):
        unpack_picture(Image(image_data=data), max_pixels=599)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_truncated_pictures_are_no_pictures(suffix):
    data = compress(suffix)
    for kept in (len(data) - 1, len(data) // 2, 27, 12, 3):
        with pytest.raises(StoryError, match="truncated|damaged|no PNG"):
            unpack_picture(Image(image_data=data[:kept]))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (png(60000, 60000, b""), "60000x60000 pixels, more than"),
        (png(0, 7, b""), "0x7 pixels"),
        (png(20, 20, zlib.compress(b"short")), "damaged"),
        (b"<html>not found</html>", "no PNG, JPEG, WEBP or BMP"),
        (b"BM" + bytes(12) + b"\x28" + bytes(3) + b"\xff" * 8 + bytes(20), "-1x1 pixels"),
        (b"RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + bytes(4) + b"\xff" * 6, "16777216x16777216"),
        (b"RIFF\x16\x00\x00\x00WEBPNONE\x0a\x00\x00\x00" + bytes(10), "first chunk is b'NONE'"),
    ],
)
def test_bombs_and_other_data_are_refused_before_decoding(data, told):
    with pytest.raises(StoryError, match=told):
        unpack_picture(Image(image_data=data))


def test_a_second_header_cannot_hide_a_bomb():
    small = compress(".png")
    begin = small.index(b"IDAT") - 4
    large = png(60000, 60000, b"")
    hidden = large[: large.index(b"IDAT") - 4] + small[8:begin] + small[begin:]
    with pytest.raises(StoryError, match="60000x60000"):
        unpack_picture(Image(image_data=hidden))


def test_a_picture_that_lies_elsewhere_is_not_followed(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(compress(".png"))
    with pytest.raises(StoryError, match="not followed"):
        unpack_picture(Image(image_path=str(path)))


@pytest.mark.parametrize(
    "rgb", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_only_rgb_is_packed(rgb):
    with pytest.raises(StoryError, match=r"expected \[H, W, 3\] of uint8"):
        pack_picture(rgb)


@pytest.mark.parametrize("rgb", [cv2.merge([RGB, RGB[..., :1]]), RGB[..., 0]])
def test_transparency_and_grey_become_rgb(rgb):
    data = cv2.imencode(".png", rgb)[1].tobytes()
    assert unpack_picture(Image(image_data=data)).shape == (20, 30, 3)
