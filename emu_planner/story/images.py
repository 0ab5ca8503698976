"""Pictures of a story: rgb arrays to and from compressed data, with the checks foreign files need.

Size and kind are read from the data's own header before any pixel is decoded, so that a small file
cannot ask for gigabytes.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from emu_planner.plan import PlanError
from emu_planner.story.errors import StoryError
from emu_planner.story.nouns import Image, ImageFormat
from emu_planner.wire.images import JPEG_MAGIC, PNG_MAGIC, jpeg_size, png_size

# most pixels that are decoded; a telephone's photograph, kept as a reference, has 48 million
MAX_PIXELS = 8192 * 8192
_PNG_LEVEL = 6  # of 9, as the published writer compresses


def pack_picture(rgb: NDArray[np.uint8]) -> Image:
    """Compress rgb [H, W, 3] uint8 to PNG. StoryError: it has no pixels, or another shape or type."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise StoryError(f"a picture is {list(rgb.shape)} of {rgb.dtype}; expected [H, W, 3] of uint8")
    options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    written, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not written:
        raise StoryError(f"a picture of shape {list(rgb.shape)} does not fit into PNG")
    height, width = rgb.shape[:2]
    return Image(width, height, ImageFormat.PNG, data.tobytes())


def unpack_picture(image: Image, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decompress to rgb [H, W, 3] uint8; orientation tags are ignored, transparency is dropped.

    Raises:
        StoryError: the data is missing, no picture, truncated, damaged, or larger than max_pixels.
    """
    if not image.image_data:
        where = f"; it is said to lie at {image.image_path!r}, which is not followed"
        raise StoryError("the picture is not in the file" + (where if image.image_path else ""))
    data = image.image_data
    kind, width, height = measure(data)
    if width < 1 or height < 1:
        raise StoryError(f"the {kind.name} picture has {width}x{height} pixels")
    if width * height > max_pixels:
        raise StoryError(f"the {kind.name} picture has {width}x{height} pixels, more than {max_pixels}")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise StoryError(f"the {kind.name} picture is damaged: {error.err}") from error
    if bgr is None or bgr.shape != (height, width, 3):
        raise StoryError(f"the {kind.name} picture is damaged and cannot be decoded")
    return np.ascontiguousarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def measure(data: bytes) -> tuple[ImageFormat, int, int]:
    """Kind, width and height, px, by the data's header.

    Raises:
        StoryError: it is none of the kinds that a story may hold, truncated, or its header is damaged.
    """
    try:
        if data.startswith(PNG_MAGIC):
            return ImageFormat.PNG, *png_size(data)
        if data.startswith(JPEG_MAGIC):
            return ImageFormat.JPEG, *jpeg_size(data)
    except PlanError as error:
        raise StoryError(error.message) from error
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return ImageFormat.WEBP, *_webp_size(data)
    if data.startswith(b"BM") and len(data) >= 26:
        return ImageFormat.BMP, *_bmp_size(data)
    raise StoryError(f"the data is no PNG, JPEG, WEBP or BMP picture; it begins with {data[:8]!r}")


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a WEBP file (RFC 9649, section 2)."""
    if len(data) < 8 + int.from_bytes(data[4:8], "little") or len(data) < 30:
        raise StoryError(f"the WEBP picture is truncated: it has {len(data)} bytes")
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
        return width & 0x3FFF, height & 0x3FFF
    raise StoryError(f"the WEBP picture is damaged: its first chunk is {chunk!r}")


def _bmp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a BMP file: the old core header has 12 bytes and 16-bit sizes."""
    if int.from_bytes(data[14:18], "little") == 12:
        return int.from_bytes(data[18:20], "little"), int.from_bytes(data[20:22], "little")
    # a negative height means rows from top to bottom
    return (
        int.from_bytes(data[18:22], "little", signed=True),
        abs(int.from_bytes(data[22:26], "little", signed=True)),
    )
