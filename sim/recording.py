"""Pictures that a real camera recorded: from a folder, a video, or a ROS 2 bag (.mcap).

Only reads; knows no metric. A bag needs the package rosbags (requirements/export.txt), no ROS.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

MOST_FRAMES = 2000
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_RAW = "sensor_msgs/msg/Image"
# encoding of a raw image: bytes a pixel, and where red, green and blue are among them
_LAYOUTS = {"rgb8": (3, [0, 1, 2]), "bgr8": (3, [2, 1, 0]), "rgba8": (4, [0, 1, 2]), "mono8": (1, [0, 0, 0])}


def read(path: str | Path, *, topic: str | None = None, every: int = 1) -> list[Picture]:
    """The recorded pictures in order, [H, W, 3] uint8 RGB each.

    Args:
        topic: of a bag; needed when it holds several topics with images.
        every: keep each n-th picture.

    Raises:
        ValueError: nothing there, no picture in it, a size that changes, or too many pictures.
    """
    source = Path(path)
    if every < 1:
        raise ValueError(f"every {every}; expected 1 or more")
    if source.is_dir() and not (source / "metadata.yaml").exists():
        frames = _from_folder(source)
    elif source.is_dir() or source.suffix == ".mcap":
        frames = _from_bag(source, topic)
    elif source.is_file():
        frames = _from_video(source)
    else:
        raise ValueError(f"there is no {source}; give a folder of pictures, a video, or a bag (.mcap)")
    kept = list(islice(islice(frames, 0, None, every), MOST_FRAMES + 1))
    if not kept:
        raise ValueError(f"{source} holds no picture")
    if len(kept) > MOST_FRAMES:
        raise ValueError(f"{source} holds more than {MOST_FRAMES} pictures; keep fewer with --every")
    if len(sizes := {frame.shape for frame in kept}) > 1:
        raise ValueError(f"the pictures of {source} have different sizes: {sorted(sizes)}")
    return kept


def read_folder(folder: str | Path) -> list[Picture]:
    """The pictures of a folder by name, of any sizes. ValueError: no folder, none, or one is no picture."""
    if not (path := Path(folder)).is_dir():
        raise ValueError(f"{path} is no folder")
    if not (found := list(_from_folder(path))):
        raise ValueError(f"{path} holds no picture; expected files that end in {', '.join(_PICTURES)}")
    return found


def _from_folder(folder: Path) -> Iterator[Picture]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _PICTURES:
            yield _decode(np.fromfile(path, np.uint8), str(path))


def _from_video(path: Path) -> Iterator[Picture]:
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise ValueError(f"{path} cannot be read as a video; give a format that OpenCV knows")
        while (got := video.read())[0]:
            yield _rgb(got[1])
    finally:
        video.release()


def _from_bag(path: Path, topic: str | None) -> Iterator[Picture]:
    try:
        from rosbags.rosbag2 import Reader, ReaderError
        from rosbags.typesys import Stores, get_typestore
    except ModuleNotFoundError as error:
        raise ValueError(
            f"a bag needs the package {error.name}, which is not installed here; "
            f"run: pip install -r requirements/export.txt"
        ) from error
    types = get_typestore(Stores.ROS2_JAZZY)
    try:
        with Reader(path) as bag:
            images = {c.topic: c for c in bag.connections if c.msgtype in (_COMPRESSED, _RAW)}
            chosen = images[_choose(path, sorted(images), topic)]
            for connection, stamp_ns, data in bag.messages([chosen]):
                message = types.deserialize_cdr(data, connection.msgtype)
                yield _from_message(message, connection.msgtype, f"{path}, {chosen.topic} at {stamp_ns} ns")
    except ReaderError as error:
        raise ValueError(f"{path} cannot be read as a bag: {error}") from error


def _choose(path: Path, topics: list[str], topic: str | None) -> str:
    if topic is None and len(topics) == 1:
        return topics[0]
    if topic not in topics:
        asked = "give one with --topic" if topic is None else f"no {topic} among them"
        raise ValueError(f"{path} has the image topics {topics}; {asked}")
    return topic


def _from_message(message: Any, kind: str, where: str) -> Picture:
    if kind == _COMPRESSED:
        return _decode(np.asarray(message.data, np.uint8), where)
    if message.encoding not in _LAYOUTS:
        raise ValueError(f"{where} has the encoding {message.encoding}; expected one of {list(_LAYOUTS)}")
    size, order = _LAYOUTS[message.encoding]
    rows = np.asarray(message.data, np.uint8).reshape(message.height, message.step)
    pixels = rows[:, : message.width * size].reshape(message.height, message.width, size)
    return np.ascontiguousarray(pixels[:, :, order])


def _decode(data: NDArray[np.uint8], where: str) -> Picture:
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise ValueError(f"{where} is no picture that OpenCV can read")
    return _rgb(bgr)


def _rgb(bgr: Any) -> Picture:
    return np.ascontiguousarray(bgr[:, :, ::-1]).astype(np.uint8, copy=False)
