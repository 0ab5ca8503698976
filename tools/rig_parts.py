"""What measure_rig starts beside the planner node: two cameras, and a service that stamps times.

python -m tools.rig_parts camera --size 1920 1080 --compressed
python -m tools.rig_parts service PORT
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from emu_planner.cli.paced_service import imagined
from emu_planner.plan import (
    Event,
    FinishReason,
    Frame,
    FrameSource,
    PlanComplete,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
)
from emu_planner.ros.convert import frame_to_image, s_to_time
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import serve

CAMERAS = ("front", "side")
RATE_HZ = 30.0


def camera_process(words: Sequence[str]) -> None:
    """Publish two cameras at 30 Hz until SIGTERM; noise, so that no two pictures are alike."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), help="width and height, px")
    parser.add_argument("--look", choices=("noise", "still", "dark"), default="noise")
    parser.add_argument("--behind", type=float, default=0.0, help="how far the stamps lie in the past, s")
    parser.add_argument("--compressed", action="store_true")
    args = parser.parse_args(words)
    rclpy.init()
    node = Node("cameras")
    kind, suffix = (CompressedImage, "/compressed") if args.compressed else (Image, "")
    publishers = [node.create_publisher(kind, f"{name}/image_raw{suffix}", 1) for name in CAMERAS]
    pictures = list(_pictures(args.look, *args.size, compressed=args.compressed))
    due_s, number = time.monotonic(), 0
    while rclpy.ok():
        message = pictures[number % len(pictures)]
        message.header.stamp = s_to_time(time.time() - args.behind)
        for publisher in publishers:
            publisher.publish(message)
        number, due_s = number + 1, max(due_s + 1 / RATE_HZ, time.monotonic() - 1 / RATE_HZ)
        time.sleep(max(0.0, due_s - time.monotonic()))


def _pictures(look: str, width: int, height: int, *, compressed: bool) -> Iterator[Any]:
    """Messages to publish in turn. Noise is coarse, as JPEG of fine noise is larger than any camera's."""
    draw = np.random.default_rng(0)
    for _ in range(1 if look == "still" else 4):
        coarse = draw.integers(0, 1 if look == "dark" else 255, (height // 8, width // 8, 3), np.uint8)
        rgb = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
        if compressed:
            yield CompressedImage(format="jpeg", data=cv2.imencode(".jpg", rgb)[1].tobytes())
        else:
            yield frame_to_image(Frame(rgb, "any", 0.0))


class StampingPlanner:
    """A Planner whose words are three times: of the picture, of its arrival here, of the answer."""

    def plan(
        self,
        task: Task,  # noqa: ARG002
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,  # noqa: ARG002
    ) -> Iterator[Event]:
        """See plan.Planner; one step with a keyframe of 384x192 px."""
        observation = frames.newest(5.0)
        arrived_s = time.time()
        yield PlanStarted(observation.seq, 0, observation.stamp_s)
        keyframe = imagined(observation, 0)
        words = f"{observation.stamp_s:.6f} {arrived_s:.6f} {time.time():.6f}"
        yield StepComplete(Step(len(history), words, keyframe))
        yield PlanComplete(FinishReason.LENGTH)


if __name__ == "__main__":
    if sys.argv[1] == "camera":
        camera_process(sys.argv[2:])
    else:
        serve(StampingPlanner, ServiceConfig(address=f"127.0.0.1:{sys.argv[2]}"))
