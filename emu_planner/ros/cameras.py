"""The rig's cameras: subscriptions that fill a CameraFeed, in a thread of their own.

A node's executor looks at everything the node offers for each message that comes; at 30 pictures
a second of each camera that alone took a third of a core. So the cameras have a small node and an
executor of their own, and goals, reviews and cancellations never wait behind a picture.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from emu_planner.goal.feed import CameraFeed
from emu_planner.ros import convert
from emu_planner.ros.outputs import NEWEST, Outputs
from emu_planner.ros.params import CameraParams

# how long a callback may take to end when the cameras stop, s
_PATIENCE_S = 2.0


class Cameras:
    """Listens from its making until `stop`.

    Args:
        owner: the planner node; its remappings and namespace hold for the topics.
        params: the cameras.
        feed: gets the pictures.
        outputs: gets each camera's frame id and calibration.
        now_s: stamps pictures whose driver stamps nothing.
    """

    def __init__(
        self,
        owner: Node,
        params: Sequence[CameraParams],
        feed: CameraFeed,
        outputs: Outputs,
        now_s: Callable[[], float],
    ) -> None:
        self._feed, self._outputs, self._now_s = feed, outputs, now_s
        self._logger = owner.get_logger()
        self._node = Node(
            f"{owner.get_name()}_cameras",
            namespace=owner.get_namespace(),
            context=owner.context,
            # the process's arguments name and remap its owner; they are applied below
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            parameter_overrides=[Parameter("start_type_description_service", value=False)],
        )
        for camera in params:
            kind = CompressedImage if camera.transport == "compressed" else Image
            for message, topic, take in (
                (kind, camera.image_topic, self._take_picture),
                (CameraInfo, camera.info_topic, self._take_info),
            ):
                self._node.create_subscription(
                    message, owner.resolve_topic_name(topic), partial(take, camera.name), NEWEST
                )
        self._executor = SingleThreadedExecutor(context=owner.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="planner-cameras", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; no picture arrives after this."""
        self._executor.shutdown(_PATIENCE_S)
        self._thread.join(_PATIENCE_S)
        self._node.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _take_picture(self, camera: str, message: Image | CompressedImage) -> None:
        to_frame = convert.image_to_frame if isinstance(message, Image) else convert.compressed_to_frame
        try:
            frame = to_frame(message, camera)
        except ValueError as error:
            self._logger.error(f"picture dropped: {error}", throttle_duration_sec=5.0)
            return
        if frame.stamp_s == 0.0:
            # the driver stamps nothing: the moment of arrival is all that is known
            frame = replace(frame, stamp_s=self._now_s())
        self._outputs.frame_ids[camera] = message.header.frame_id
        self._feed.put(frame)

    def _take_info(self, camera: str, message: CameraInfo) -> None:
        self._outputs.infos[camera] = message
