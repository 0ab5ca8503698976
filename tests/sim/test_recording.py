"""A recording is read from a folder, a video or a bag; what cannot be read is told."""

import sys

import cv2
import numpy as np
import pytest

from sim import recording
from sim.recording import read, read_folder


@pytest.fixture(scope="module")
def pictures():
    """Six pictures whose brightness says which they are."""
    ramp = np.linspace(0, 60, 64, dtype=np.uint8)
    picture = np.stack(
        [np.tile(ramp, (48, 1)), np.full((48, 64), 20, np.uint8), np.tile(ramp[::-1], (48, 1))], 2
    )
    return [picture + np.uint8(25 * n) for n in range(6)]


def write_bag(path, pictures, topics, kind="CompressedImage", encoding="rgb8"):
    """A bag of images: each topic says the pictures, the second one dark."""
    pytest.importorskip("rosbags", reason="see requirements/export.txt")
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types, name = store.types, f"sensor_msgs/msg/{kind}"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        text = bag.add_connection("/words", "std_msgs/msg/String", typestore=store)
        bag.write(text, 1, store.serialize_cdr(types["std_msgs/msg/String"](data="hello"), text.msgtype))
        for number, topic in enumerate(topics):
            connection = bag.add_connection(topic, name, typestore=store)
            for index, rgb in enumerate(pictures):
                stamp = types["builtin_interfaces/msg/Time"](sec=index, nanosec=0)
                header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
                shown = rgb // (number + 1)
                if kind == "CompressedImage":
                    data = cv2.imencode(".png", shown[:, :, ::-1])[1].ravel()
                    message = types[name](header=header, format="png", data=data)
                else:
                    channels = {"rgb8": shown, "bgr8": shown[:, :, ::-1], "mono8": shown[:, :, 1:2]}[encoding]
                    rows = np.ascontiguousarray(channels).reshape(shown.shape[0], -1)
                    # rows are padded, as some cameras do
                    padded = np.pad(rows, ((0, 0), (0, 5)))
                    height, width = shown.shape[:2]
                    message = types[name](header, height, width, encoding, 0, padded.shape[1], padded.ravel())
                bag.write(connection, (index + 1) * 10**9, store.serialize_cdr(message, name))
    return path / f"{path.name}.mcap"


def test_a_folder_is_read_by_name(pictures, tmp_path):
    for index, rgb in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"{index:03d}.png"), rgb[:, :, ::-1])
    (tmp_path / "notes.txt").write_text("not a picture")
    got = read(tmp_path)
    assert len(got) == 6
    assert all(np.array_equal(a, b) for a, b in zip(got, pictures, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(read(tmp_path, every=4), pictures[::4], strict=True))
    assert len(read_folder(tmp_path)) == 6


def test_a_video_is_read_in_order(pictures, tmp_path):
    path = tmp_path / "camera.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert video.isOpened()
    for rgb in pictures:
        video.write(np.ascontiguousarray(rgb[:, :, ::-1]))
    video.release()
    got = read(path)
    assert len(got) == 6
    # a video loses a little; colours are not swapped
    assert all(np.abs(a.astype(int) - b).mean() < 6 for a, b in zip(got, pictures, strict=True))


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_bag_of_compressed_images_is_read_by_topic(pictures, tmp_path, as_folder):
    path = write_bag(tmp_path / "bag", pictures, ["/front/image/compressed", "/side/image/compressed"])
    path = path.parent if as_folder else path
    got = read(path, topic="/side/image/compressed")
    assert all(np.array_equal(a, b // 2) for a, b in zip(got, pictures, strict=True))
    with pytest.raises(ValueError, match="give one with --topic"):
        read(path)
    with pytest.raises(ValueError, match="no /words among them"):
        read(path, topic="/words")


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8"])
def test_a_bag_of_raw_images_is_read(pictures, tmp_path, encoding):
    path = write_bag(tmp_path / "bag", pictures, ["/image_raw"], "Image", encoding)
    for got, rgb in zip(read(path), pictures, strict=True):
        assert np.array_equal(got, rgb if encoding != "mono8" else np.repeat(rgb[:, :, 1:2], 3, 2))


def test_what_is_no_recording_is_told(pictures, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="give a folder of pictures, a video, or a bag"):
        read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no picture"):
        read(tmp_path)
    with pytest.raises(ValueError, match="holds no picture"):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "words.mp4").write_text("no video")
    with pytest.raises(ValueError, match="cannot be read as a video"):
        read(tmp_path / "words.mp4")
    for index, size in enumerate((48, 40, 48)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), pictures[0][:size])
    with pytest.raises(ValueError, match="different sizes"):
        read(tmp_path)
    monkeypatch.setattr(recording, "MOST_FRAMES", 1)
    with pytest.raises(ValueError, match="keep fewer with --every"):
        read(tmp_path)
    (tmp_path / "3.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"3\.png is no picture"):
        read(tmp_path, every=3)
    with pytest.raises(ValueError, match="every 0"):
        read(tmp_path, every=0)


def test_a_damaged_bag_and_a_missing_package_are_told(tmp_path, monkeypatch):
    path = tmp_path / "bad.mcap"
    path.write_bytes(b"no bag at all")
    if "rosbags" in sys.modules:
        with pytest.raises(ValueError, match="cannot be read as a bag"):
            read(path)
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    with pytest.raises(ValueError, match=r"requirements/export\.txt"):
        read(path)
