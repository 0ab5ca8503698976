"""The bags, read by the mcap package and by ROS's own deserialiser."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from sim.export.formats import export

pytest.importorskip("rosbags", reason="see requirements/export.txt")
make_reader = pytest.importorskip("mcap.reader", reason="see requirements/dev.txt").make_reader
CAMERAS = ("/front/image_raw/compressed", "/side/image_raw/compressed")


@pytest.fixture(scope="module")
def out(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mcap") / "out"
    export(run, "mcap", folder)
    return folder


@pytest.fixture(scope="module")
def heard(run, out):
    """Of each shard: topic -> [(type, stamp in ns, bytes)], in the order of the file's log times."""
    bags = []
    for shard in run.shards:
        topics = defaultdict(list)
        with (out / shard.name / f"{shard.name}.mcap").open("rb") as file:
            for schema, channel, message in make_reader(file).iter_messages():
                assert (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr")
                topics[channel.topic].append((schema.name, message.log_time, message.data))
        bags.append(topics)
    return bags


def deserialise(data, kind):
    serialization = pytest.importorskip("rclpy.serialization", reason="needs ROS 2")
    return serialization.deserialize_message(data, kind)


def test_the_metadata_of_rosbag2_is_that_of_the_file(run, out, heard):
    for shard, topics in zip(run.shards, heard, strict=True):
        text = (out / shard.name / "metadata.yaml").read_text()
        said = yaml.safe_load(text)["rosbag2_bagfile_information"]
        assert said["version"] == 9
        assert said["storage_identifier"] == "mcap"
        assert said["relative_file_paths"] == [f"{shard.name}.mcap"]
        assert said["message_count"] == sum(map(len, topics.values()))
        told = {t["topic_metadata"]["name"]: t for t in said["topics_with_message_count"]}
        assert {name: t["message_count"] for name, t in told.items()} == {
            n: len(m) for n, m in topics.items()
        }
        for name, messages in topics.items():
            assert told[name]["topic_metadata"]["type"] == messages[0][0]
            assert told[name]["topic_metadata"]["type_description_hash"].startswith("RIHS01_")
        stamps = [stamp for messages in topics.values() for _, stamp, _ in messages]
        assert said["starting_time"]["nanoseconds_since_epoch"] == min(stamps)
        assert said["duration"]["nanoseconds"] == max(stamps) - min(stamps)
        latched = told["/task"]["topic_metadata"]["offered_qos_profiles"][0]
        assert (latched["durability"], latched["reliability"]) == ("transient_local", "reliable")


@pytest.mark.ros
def test_the_type_hashes_are_those_of_ros(out):
    pytest.importorskip("rclpy", reason="needs ROS 2")
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import String

    said = yaml.safe_load((out / "shard-00000" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    hashes = {
        t["topic_metadata"]["type"]: t["topic_metadata"]["type_description_hash"]
        for t in said["topics_with_message_count"]
    }
    assert hashes["std_msgs/msg/String"] == ros_hash(String)
    assert hashes["sensor_msgs/msg/CompressedImage"] == ros_hash(CompressedImage)


def ros_hash(kind):
    """The RIHS01 hash in the JSON that the interface's package installs."""
    from ament_index_python.packages import get_package_share_directory

    package = kind.__module__.partition(".")[0]
    path = Path(get_package_share_directory(package)) / "msg" / f"{kind.__name__}.json"
    hashes = {h["type_name"]: h["hash_string"] for h in json.loads(path.read_text())["type_hashes"]}
    return hashes[f"{package}/msg/{kind.__name__}"]


@pytest.mark.ros
def test_ros_reads_the_very_pixels_and_words(run, heard):
    pytest.importorskip("rclpy", reason="needs ROS 2")
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import String

    for shard, topics in zip(run.shards, heard, strict=True):
        texts = {
            topic: {stamp: deserialise(data, String).data for _, stamp, data in topics[topic]}
            for topic in ("/episode", "/task", "/subgoal")
        }
        images = {
            topic: {stamp: deserialise(data, CompressedImage) for _, stamp, data in topics[topic]}
            for topic in CAMERAS
        }
        starts = sorted(texts["/episode"])
        for line, start in zip(shard.lines(), starts, strict=True):
            assert json.loads(texts["/episode"][start]) == {k: v for k, v in line.items() if k != "frames"}
            assert texts["/task"][start] == line["instruction"]
            words = [*(step["subgoal"] for step in line["steps"]), ""]
            for number, picture in enumerate(shard.pictures(line)):
                stamp = start + number * 1_000_000_000
                assert texts["/subgoal"][stamp] == words[number]
                views = [images[topic][stamp] for topic in CAMERAS]
                for topic, view in zip(CAMERAS, views, strict=True):
                    assert view.format == "png"
                    assert view.header.frame_id == f"{topic.split('/')[1]}_optical"
                    assert view.header.stamp.sec * 1_000_000_000 + view.header.stamp.nanosec == stamp
                pixels = [cv2.imdecode(np.frombuffer(v.data, np.uint8), cv2.IMREAD_COLOR) for v in views]
                assert np.array_equal(np.concatenate(pixels, axis=1)[:, :, ::-1], picture)


def test_each_topic_says_something_at_each_frame_and_no_stamp_is_twice(run, heard):
    for shard, topics in zip(run.shards, heard, strict=True):
        lines = list(shard.lines())
        frames = sum(len(line["frames"]) for line in lines)
        expected = {"/episode": len(lines), "/task": len(lines), "/subgoal": frames}
        expected |= dict.fromkeys(CAMERAS, frames)
        assert {topic: len(messages) for topic, messages in topics.items()} == expected
        for messages in topics.values():
            assert Counter(stamp for _, stamp, _ in messages).most_common(1)[0][1] == 1
