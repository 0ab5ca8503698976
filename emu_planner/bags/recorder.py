"""A process that records one planner node: what its cameras show and what it says, into one bag.

Subscribes without looking into the messages, so a message costs a copy. The cameras are those that
the node's parameters name; they are asked for, and go into the bag too. Memory is bounded: by what
may wait in the subscriptions, by `memory_mb` of pictures, and by one chunk of the file. Knows no plan.
"""

import math
import signal
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from rcl_interfaces.msg import Parameter, ParameterEvent
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from std_msgs.msg import Header

from emu_planner.bags.definitions import define
from emu_planner.bags.parameters import read_parameters
from emu_planner.bags.pictures import PictureStream
from emu_planner.bags.read import without_padding
from emu_planner.bags.topics import (
    NODE,
    OBSERVED,
    STATUS,
    Topic,
    camera_topics,
    parameters_topic,
    planner_topics,
)
from emu_planner.bags.write import BagWriter, new_folder
from emu_planner.ros.convert import time_to_s
from emu_planner.ros.outputs import ALL
from emu_planner.ros.params import CameraParams

# how often the file is brought up to date, and the planner node is looked for, s
_BEAT_S = 0.5
# how long the planner node may take to answer before it is asked again: an answer can get lost when the
# node has not yet discovered who asks (ros/asking.py), s
_AGAIN_S = 2.0
# how long a signal may wait to be seen, s
_LOOK_S = 0.25
_NEVER = QosTime(sec=0, nsec=0)
# of a serialised message that begins with a header: byte order, and the stamp behind it (XTypes 7.4)
_LITTLE_ENDIAN = 1
_STAMP = {True: struct.Struct("<iI"), False: struct.Struct(">iI")}


@dataclass(frozen=True)
class RecorderConfig:
    """What to record, and how much of it."""

    # folder below which each recording gets one of its own
    parent: Path
    # of the planner node and its cameras; "/": none
    namespace: str = "/"
    # pictures of each camera a second; those that a plan was made from are always there; 0: all
    rate_hz: float = 5.0
    # pictures kept in memory until it is known whether a plan was made from them, MB
    memory_mb: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.rate_hz <= 1000:
            raise ValueError(f"the rate is {self.rate_hz:g} Hz; expected 0 (all pictures) to 1000")
        if self.memory_mb < 1:
            raise ValueError(f"the memory is {self.memory_mb} MB; expected 1 or more")


class Recorder:
    """Records from its making on, as long as the node is spun.

    Args:
        node: whose namespace is the robot's.
        bag: where to.
        config: see there.
    """

    def __init__(self, node: Node, bag: BagWriter, config: RecorderConfig) -> None:
        self._node, self._bag, self._config = node, bag, config
        self._asks = True  # the node's parameters are to be asked for
        self._answer_by_s = math.inf  # until when an answer is waited for; infinite: none is
        self._cameras: dict[str, Topic] = {}
        self._streams: dict[str, PictureStream] = {}  # by topic
        self._known: set[str] = set()
        # topics of cameras that nobody publishes yet
        self._expected: list[tuple[Topic, Callable[[bytes], None]]] = []
        for topic in planner_topics():
            take = self._take_observed if topic.name == f"{NODE}/{OBSERVED}" else self._write
            # a planner node that came may have other parameters than the one before
            events = SubscriptionEventCallbacks(matched=self._matched)
            is_status = topic.name == f"{NODE}/{STATUS}"
            self._listen(topic, partial(take, topic), **({"event_callbacks": events} if is_status else {}))
        self._list = node.create_client(ListParameters, f"{NODE}/list_parameters")
        self._get = node.create_client(GetParameters, f"{NODE}/get_parameters")
        node.create_timer(_BEAT_S, self._beat)

    def summary(self) -> str:
        """What the bag holds, in words."""
        total = sum(self._bag.counts.values())
        skipped = sum(stream.skipped for stream in self._streams.values())
        missing = sum(stream.missing for stream in self._streams.values())
        words = f"{total} messages of {len(self._bag.counts)} topics"
        if skipped:
            words += f"; {skipped} pictures left out, --rate 0 keeps all"
        if missing:
            words += (
                f"; {missing} pictures that plans were made from were not seen or forgotten, so those "
                "plans cannot be replayed: raise --memory"
            )
        return words if total else "nothing was heard: is the planner node in this domain and namespace?"

    # -- subscriptions ------------------------------------------------------------------------

    def _listen(self, topic: Topic, take: Callable[[bytes], None], **options: Any) -> None:
        if topic.name not in self._known:
            self._known.add(topic.name)
            self._node.create_subscription(topic.kind, topic.name, take, topic.asked, raw=True, **options)

    def _join(self, topic: Topic, take: Callable[[bytes], None]) -> bool:
        """Listen to a camera as its driver offers it; False: there is no driver yet.

        Reliably where that is offered: of large pictures many are lost otherwise, and those that the
        planner node got and the recorder did not would be missed in a replay.
        """
        drivers = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic.name))
        if not drivers:
            return False
        is_reliable = all(d.qos_profile.reliability == ReliabilityPolicy.RELIABLE for d in drivers)
        self._listen(replace(topic, offered=ALL) if is_reliable else topic, take)
        return True

    def _matched(self, change: Any) -> None:
        self._asks |= change.current_count_change > 0

    def _write(self, topic: Topic, data: bytes) -> None:
        name = self._node.resolve_topic_name(topic.name)
        self._bag.write(name, define(topic.kind), [to_qos(topic.offered)], data, time.time_ns())

    def _take_picture(self, topic: Topic, data: bytes) -> None:
        stamp_s = _stamp_s(data)
        written = self._streams[topic.name].put(stamp_s, time.time(), data)
        if written is not None:
            self._write(topic, written)

    def _take_observed(self, topic: Topic, data: bytes) -> None:
        self._write(topic, data)
        header = deserialize_message(data, Header)
        pictures = self._cameras.get(header.frame_id)
        if pictures is not None:
            wanted = self._streams[pictures.name].want(time_to_s(header.stamp))
            if wanted is not None:
                self._write(pictures, wanted)

    # -- the planner node's parameters --------------------------------------------------------

    def _beat(self) -> None:
        self._bag.flush()
        self._expected = [(topic, take) for topic, take in self._expected if not self._join(topic, take)]
        now_s = time.monotonic()
        asks = self._asks or now_s > self._answer_by_s
        if asks and self._list.service_is_ready() and self._get.service_is_ready():
            self._asks, self._answer_by_s = False, now_s + _AGAIN_S
            self._list.call_async(ListParameters.Request()).add_done_callback(self._take_names)

    def _take_names(self, future: Any) -> None:
        names = list(future.result().result.names)
        request = GetParameters.Request(names=names)
        self._get.call_async(request).add_done_callback(partial(self._take_values, names))

    def _take_values(self, names: list[str], future: Any) -> None:
        self._answer_by_s = math.inf
        values = future.result().values
        event = ParameterEvent(
            stamp=self._node.get_clock().now().to_msg(),
            node=self._node.resolve_topic_name(NODE),
            new_parameters=[Parameter(name=n, value=v) for n, v in zip(names, values, strict=True)],
        )
        data = without_padding(serialize_message(event), define(ParameterEvent))
        self._write(parameters_topic(), data)
        cameras = read_parameters(event).cameras
        for camera in cameras:
            self._listen_to(camera, self._config.memory_mb * 1_000_000 // len(cameras))

    def _listen_to(self, camera: CameraParams, share_bytes: int) -> None:
        pictures, info = camera_topics(camera)
        self._cameras[camera.name] = pictures
        if pictures.name not in self._streams:
            self._streams[pictures.name] = PictureStream(self._config.rate_hz, share_bytes)
        self._expected += [
            (pictures, partial(self._take_picture, pictures)),
            (info, partial(self._write, info)),
        ]


def to_qos(profile: QoSProfile) -> Qos:
    """A ROS profile as a bag keeps it."""
    latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=profile.depth,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_NEVER,
        lifespan=QosTime(*divmod(profile.lifespan.nanoseconds, 1_000_000_000)),
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_NEVER,
        avoid_ros_namespace_conventions=False,
    )


def _stamp_s(data: bytes) -> float:
    """The stamp of a serialised message that begins with a header, without reading the rest."""
    seconds, nanos = _STAMP[data[1] == _LITTLE_ENDIAN].unpack_from(data, 4)
    return float(seconds + nanos / 1_000_000_000)


def record(config: RecorderConfig, ros_args: list[str], tell: Callable[[str], None]) -> None:
    """Record until SIGINT or SIGTERM; the bag is closed then, whatever happened.

    Args:
        config: see there.
        ros_args: what would stand behind --ros-args, remappings for example.
        tell: gets a line at the beginning and one at the end.

    Raises:
        OSError: the folder cannot be made, or the disk is full.
    """
    folder = new_folder(config.parent)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    # rclpy's own handlers would end a callback in the middle of a write
    rclpy.init(args=["--ros-args", *ros_args], signal_handler_options=SignalHandlerOptions.NO)
    node = Node("recorder", namespace=config.namespace.strip("/"), enable_rosout=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        with BagWriter(folder) as bag:
            recorder = Recorder(node, bag, config)
            tell(f"recording {node.resolve_topic_name(NODE)} to {folder}")
            while not stopping.is_set():
                executor.spin_once(_LOOK_S)
            tell(f"{folder}: {recorder.summary()}")
    finally:
        rclpy.try_shutdown()
