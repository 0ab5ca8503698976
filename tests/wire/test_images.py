"""Pictures on the wire: lossless PNG, close JPEG, and words for every damaged one."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu_planner.plan import ErrorCode, PlanError
from emu_planner.wire.images import Encoding, ImageConfig, decode_image, encode_image

LIMIT = 1_000_000


def noise(height=24, width=32):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70))
def test_png_carries_every_pixel(height, width):
    rgb = noise(height, width)
    data = encode_image(rgb, Encoding.PNG)
    assert np.array_equal(decode_image(data, Encoding.PNG, width, height, LIMIT), rgb)


def test_jpeg_keeps_colours_in_their_channels():
    rgb = np.zeros((32, 48, 3), np.uint8)
    rgb[:, :24, 0], rgb[:, 24:, 2] = 220, 180
    data = encode_image(rgb, Encoding.JPEG, 95)
    back = decode_image(data, Encoding.JPEG, 48, 32, LIMIT)
    assert np.abs(back.astype(int) - rgb).mean() < 4


def test_jpeg_quality_counts():
    assert len(encode_image(noise(), Encoding.JPEG, 10)) < len(encode_image(noise(), Encoding.JPEG, 95))


def test_grey_and_transparent_pictures_become_rgb():
    for pixels in (noise()[..., 0], np.dstack([noise(), noise()[..., 0]])):
        data = bytes(cv2.imencode(".png", pixels)[1])
        assert decode_image(data, Encoding.PNG, 32, 24, LIMIT).shape == (24, 32, 3)


def test_orientation_tags_do_not_turn_the_picture():
    data = encode_image(noise(), Encoding.JPEG)
    # EXIF with one entry: orientation 6, a quarter turn
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    body = b"Exif\x00\x00" + tiff
    turned = data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    upright = decode_image(data, Encoding.JPEG, 32, 24, LIMIT)
    assert np.array_equal(decode_image(turned, Encoding.JPEG, 32, 24, LIMIT), upright)


PNG, JPEG = encode_image(noise(), Encoding.PNG), encode_image(noise(), Encoding.JPEG)
FLIPPED = PNG[:200] + bytes([PNG[200] ^ 1]) + PNG[201:]


@pytest.mark.parametrize(
    ("data", "encoding", "size", "words"),
    [
        (b"", Encoding.PNG, (32, 24), "empty"),
        (b"no picture", Encoding.PNG, (32, 24), "begin like PNG"),
        (b"no picture", Encoding.JPEG, (32, 24), "begin like JPEG"),
        (JPEG, Encoding.PNG, (32, 24), "begin like PNG"),
        (PNG[:-1], Encoding.PNG, (32, 24), "truncated"),
        (PNG[:300], Encoding.PNG, (32, 24), "truncated"),
        (JPEG[: len(JPEG) // 2], Encoding.JPEG, (32, 24), "truncated"),
        (JPEG[:3] + JPEG[-2:], Encoding.JPEG, (32, 24), "declares no size"),
        (FLIPPED, Encoding.PNG, (32, 24), "damaged"),
        (PNG, Encoding.PNG, (24, 32), "32x24, but declared 24x32"),
        (JPEG, Encoding.JPEG, (32, 25), "declared 32x25"),
    ],
)
def test_damage_is_named(data, encoding, size, words):
    with pytest.raises(PlanError, match=words) as raised:
        decode_image(data, encoding, *size, LIMIT)
    assert raised.value.code is ErrorCode.INVALID_REQUEST


def test_too_many_pixels_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for data, encoding in ((PNG, Encoding.PNG), (JPEG, Encoding.JPEG)):
        with pytest.raises(PlanError, match="more than 700"):
            decode_image(data, encoding, 32, 24, 700)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([PNG, JPEG]), st.data())
def test_no_damage_ends_in_another_error(good, data):
    """Cut, change or extend at random: a picture or a PlanError, nothing else."""
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    encoding = Encoding.PNG if good is PNG else Encoding.JPEG
    try:
        rgb = decode_image(bytes(damaged), encoding, 32, 24, LIMIT)
    except PlanError as error:
        assert error.code is ErrorCode.INVALID_REQUEST  # noqa: PT017 - either way is right
    else:
        assert rgb.shape == (24, 32, 3)


def test_empty_arrays_and_wrong_configs_are_refused():
    with pytest.raises(PlanError, match="empty"):
        encode_image(np.zeros((0, 4, 3), np.uint8), Encoding.PNG)
    with pytest.raises(ValueError, match="jpeg_quality"):
        ImageConfig(jpeg_quality=0)
    with pytest.raises(ValueError, match="max_pixels"):
        ImageConfig(max_pixels=0)
