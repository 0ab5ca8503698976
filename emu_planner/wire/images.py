"""Pictures on the wire: rgb arrays to and from JPEG and PNG bytes, with the checks a server needs.

Every check that can be made on the header is made before any pixel is decoded, so that a small
message cannot ask for gigabytes. Knows no protobuf.
"""

import zlib
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from emu_planner.plan import ErrorCode, PlanError

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"


class Encoding(Enum):
    """How a picture is compressed."""

    JPEG = "JPEG"
    PNG = "PNG"


@dataclass(frozen=True)
class ImageConfig:
    """How pictures are sent, and what is accepted."""

    # JPEG is small; PNG is lossless, for tests and benchmarks that compare plans exactly
    encoding: Encoding = Encoding.JPEG
    # JPEG quality, 1 to 100
    jpeg_quality: int = 90
    # most pixels of a picture that is received, checked before decoding (default: 4096 x 4096)
    max_pixels: int = 4096 * 4096

    def __post_init__(self) -> None:
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality is {self.jpeg_quality}; expected 1 to 100")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels is {self.max_pixels}; expected 1 or more")


def encode_image(rgb: NDArray[np.uint8], encoding: Encoding, jpeg_quality: int = 90) -> bytes:
    """Compress rgb [H, W, 3] uint8. PlanError INVALID_REQUEST: the picture has no pixels."""
    if rgb.size == 0:
        raise _invalid(f"the image is empty: its shape is {list(rgb.shape)}")
    suffix, options = ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if encoding is Encoding.JPEG:
        suffix, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    written, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not written:
        raise _invalid(f"an image of shape {list(rgb.shape)} does not fit into {encoding.value}")
    return bytes(data)


def decode_image(
    data: bytes, encoding: Encoding, width: int, height: int, max_pixels: int
) -> NDArray[np.uint8]:
    """Decompress to rgb [height, width, 3] uint8; orientation tags are ignored.

    Args:
        data: the compressed picture.
        encoding: what `data` is said to be.
        width: what the sender declares, px; so is height.
        height: see width.
        max_pixels: most pixels that are decoded.

    Raises:
        PlanError: INVALID_REQUEST when the data is empty, of another kind, truncated, damaged,
            larger than max_pixels, or of another size than declared.
    """
    if not data:
        raise _invalid("the image is empty: it has 0 bytes")
    found = (png_size if encoding is Encoding.PNG else jpeg_size)(data)
    if found[0] * found[1] > max_pixels:
        raise _invalid(
            f"the image has {found[0]}x{found[1]} pixels, more than {max_pixels}; send a smaller one"
        )
    if found != (width, height):
        raise _invalid(f"the image is {found[0]}x{found[1]}, but declared {width}x{height}")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _invalid(f"the {encoding.value} data is damaged: {error.err}") from error
    if bgr is None or bgr.shape != (height, width, 3):
        raise _invalid(f"the {encoding.value} data is damaged and cannot be decoded")
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(rgb, dtype=np.uint8)


def png_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a PNG whose chunks are all there and undamaged (PNG, section 5)."""
    if not data.startswith(PNG_MAGIC):
        raise _invalid("the image is declared PNG, but its data does not begin like PNG")
    size, place = (0, 0), len(PNG_MAGIC)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        body = data[place + 4 : place + 8 + length]
        check = data[place + 8 + length : place + 12 + length]
        if len(check) < 4:
            break
        if zlib.crc32(body) != int.from_bytes(check, "big"):
            raise _invalid(f"the PNG data is damaged at byte {place}")
        # only the first chunk may be it: a decoder takes no other
        if body[:4] == b"IHDR" and place == len(PNG_MAGIC):
            size = int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big")
        if body[:4] == b"IEND":
            return size
        place += 12 + length
    raise _invalid(f"the PNG data is truncated: it has {len(data)} bytes and no end")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG that has its end marker (ITU-T T.81, annex B)."""
    if not data.startswith(JPEG_MAGIC):
        raise _invalid("the image is declared JPEG, but its data does not begin like JPEG")
    if not data.rstrip(b"\0").endswith(JPEG_END):
        raise _invalid(f"the JPEG data is truncated: it has {len(data)} bytes and no end")
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        # a start of frame; C4, C8 and CC in that range are tables
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[place + 5 : place + 7], "big")
            return int.from_bytes(data[place + 7 : place + 9], "big"), height
        # FF may be repeated as filling
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise _invalid("the JPEG data is damaged: it declares no size")


def _invalid(message: str) -> PlanError:
    return PlanError(ErrorCode.INVALID_REQUEST, message)
