"""rosbag2 folders with MCAP inside, one a shard: for `ros2 bag` and Foxglove.

    shard-00000/shard-00000.mcap, shard-00000/metadata.yaml

    /episode                         std_msgs/String        the record as JSON, at its first frame
    /task                            std_msgs/String        the instruction, at its first frame
    /<view>/image_raw/compressed     sensor_msgs/CompressedImage   PNG, at each frame
    /subgoal                         std_msgs/String        what begins at the frame; empty at the end

Types of every ROS 2, no messages of our own, so nothing has to be built to play a bag. A second
of the bag is one step; stamps are no time that passed. Written by `rosbags`, which needs no ROS.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from sim.camera import VIEWS
from sim.export.target import Target
from sim.shard_reader import decode_png, encode_png
from sim.shards import DamageError, Line, Picture, Run, Shard, views_of

STEP_NS = 1_000_000_000
FIRST_NS = STEP_NS  # a stamp of zero means "no stamp" to some tools
_PNG_EFFORT = 6
_VERSION = 9  # of the bag's metadata: what ROS 2 Jazzy writes
IMAGE = "sensor_msgs/msg/CompressedImage"
STRING = "std_msgs/msg/String"
_NEVER = QosTime(sec=0, nsec=0)
CAMERAS = {f"/{view}/image_raw/compressed": view for view in VIEWS}
_TOPICS = {
    "/episode": STRING,
    "/task": STRING,
    **dict.fromkeys(CAMERAS, IMAGE),
    "/subgoal": STRING,
}


def _qos(*, latched: bool) -> Qos:
    """Reliable; latched topics keep what a late subscriber must know."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_NEVER,
        lifespan=_NEVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_NEVER,
        avoid_ros_namespace_conventions=False,
    )


class Bag:
    """A bag that is being written. Use it as a context manager.

    Args:
        folder: of the bag; it must not be there.
        topics: their types, STRING or IMAGE.
    """

    def __init__(self, folder: Path, topics: Mapping[str, str]) -> None:
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(folder, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._kinds, self._topics = topics, dict[str, Connection]()

    def __enter__(self) -> "Bag":
        self._writer.open()
        for topic, kind in self._kinds.items():
            qos = [_qos(latched=kind == STRING)]
            self._topics[topic] = self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=qos
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def say(self, topic: str, stamp_ns: int, text: str) -> None:
        """Write a String."""
        self._write(topic, stamp_ns, self._types.types[STRING](data=text))

    def show(self, topic: str, stamp_ns: int, view: str, rgb: Picture) -> None:
        """Write a picture [H, W, 3] uint8 of a view."""
        types = self._types.types
        stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=f"{view}_optical")
        data = np.frombuffer(encode_png(rgb, _PNG_EFFORT), np.uint8)
        self._write(topic, stamp_ns, types[IMAGE](header=header, format="png", data=data))

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:
        data = self._types.serialize_cdr(message, self._kinds[topic])
        self._writer.write(self._topics[topic], stamp_ns, data)


class BagExport:
    """See the module."""

    about = (
        "A rosbag2 folder a shard, storage MCAP: `ros2 bag play shard-00000`, or open the .mcap in\n"
        "Foxglove. `/<view>/image_raw/compressed` is PNG, `/task` the instruction, `/subgoal` what begins\n"
        "at the picture (empty at the end), `/episode` the whole record as JSON. A second of the bag is one\n"
        "step, no time that passed."
    )
    card_head = ""

    def __init__(self, run: Run, target: Target) -> None:
        self.run, self.target = run, target
        self.types = get_typestore(Stores.ROS2_JAZZY)

    def has(self, shard: Shard) -> bool:
        """Whether a shard's bag is there and whole."""
        bag = self.target.folder / shard.name
        return all((bag / name).exists() for name in ("metadata.yaml", f"{shard.name}.mcap"))

    def write(self, shard: Shard) -> None:
        """Write the bag of one shard."""
        part = self.target.parts / shard.name
        with Bag(part, _TOPICS) as bag:
            stamp_ns = FIRST_NS
            for line in shard.lines():
                pictures = shard.pictures(line)
                _write_episode(bag, line, pictures, stamp_ns)
                stamp_ns += len(pictures) * STEP_NS
        self.target.keep(part, self.target.folder / shard.name)

    def finish(self) -> None:
        """Nothing is left to do."""

    def restore(self, shard: Shard) -> Iterator[tuple[Line, list[Picture]]]:
        """The records of a shard, put together again from the topics."""
        try:
            heard = self._read(shard)
            for start_ns in sorted(heard["/episode"]):
                line = json.loads(heard["/episode"][start_ns])
                stamps = [start_ns + index * STEP_NS for index in range(len(line["steps"]) + 1)]
                line["instruction"] = heard["/task"][start_ns]
                for step, stamp_ns in zip(line["steps"], stamps, strict=False):
                    step["subgoal"] = heard["/subgoal"][stamp_ns]
                views = [[decode_png(heard[topic][stamp]) for topic in CAMERAS] for stamp in stamps]
                yield line, [np.concatenate(parts, axis=1) for parts in views]
        except (ReaderError, SerdeError, LookupError, ValueError) as error:
            raise DamageError(f"the bag {shard.name} is damaged: {error!r}") from error

    def _read(self, shard: Shard) -> dict[str, dict[int, Any]]:
        """What each topic said at each time: text, or the bytes of a picture."""
        heard: dict[str, dict[int, Any]] = defaultdict(dict)
        with Reader(self.target.folder / shard.name) as bag:
            for connection, stamp_ns, data in bag.messages():
                heard[connection.topic][stamp_ns] = self._said(connection, data)
        return heard

    def _said(self, connection: Connection, data: bytes) -> Any:
        message = self.types.deserialize_cdr(data, connection.msgtype)
        return message.data if connection.msgtype == STRING else message.data.tobytes()


def _write_episode(bag: Bag, line: Line, pictures: list[Picture], stamp_ns: int) -> None:
    """One episode, in order of time."""
    record = {key: value for key, value in line.items() if key != "frames"}
    bag.say("/episode", stamp_ns, json.dumps(record))
    bag.say("/task", stamp_ns, line["instruction"])
    words = [*(step["subgoal"] for step in line["steps"]), ""]
    for picture, subgoal in zip(pictures, words, strict=True):
        views = views_of(picture)
        for topic, view in CAMERAS.items():
            bag.show(topic, stamp_ns, view, views[view])
        bag.say("/subgoal", stamp_ns, subgoal)
        stamp_ns += STEP_NS
