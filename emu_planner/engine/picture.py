"""Between a robot's frames and the one picture that the model reads and imagines.

The picture holds the configured views side by side, equally wide. Knows no token but visual codes.
"""

import cv2
import numpy as np
import torch

from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.pixels import Rgb, to_input, to_rgb
from emu_planner.model.prompt import Grid
from emu_planner.plan import ErrorCode, Keyframe, Observation, PlanError

# A lone picture counts as all views at once when its aspect ratio is this near, relative.
_ASPECT_TOLERANCE = 0.02


def compose(observation: Observation, views: tuple[str, ...], width: int, height: int) -> Rgb:
    """The picture that the model expects, [height, width, 3].

    Frames are taken by their cameras' names, in the order of `views`, each resized to its part. A
    single frame of any name is used as it is when it has the aspect ratio of all views together,
    else it is repeated for each view.

    Raises:
        PlanError: STALE_OBSERVATION without any frame; INVALID_REQUEST when a camera is missing.
    """
    frames = {frame.camera: frame.rgb for frame in observation.frames}
    if not frames:
        raise PlanError(ErrorCode.STALE_OBSERVATION, "the observation holds no picture", retryable=True)
    view_width = width // len(views)
    if all(view in frames for view in views):
        return np.hstack([_resize(frames[view], view_width, height) for view in views])
    if len(frames) > 1:
        raise PlanError(
            ErrorCode.INVALID_REQUEST,
            f"pictures came from cameras {sorted(frames)}; this checkpoint needs {list(views)}",
        )
    (rgb,) = frames.values()
    aspect = rgb.shape[1] / rgb.shape[0] / (width / height)
    if abs(aspect - 1) <= _ASPECT_TOLERANCE:
        return _resize(rgb, width, height)
    return np.hstack([_resize(rgb, view_width, height)] * len(views))


def encode(vision: VisionTokenizer, picture: Rgb) -> Grid:
    """The picture's codes, [h, w]."""
    parameter = next(vision.parameters())
    image = to_input(np.ascontiguousarray(picture)).to(parameter.device, parameter.dtype)
    return vision.encode(image)[0].cpu().numpy()


def decode(vision: VisionTokenizer, grid: Grid, views: tuple[str, ...]) -> Keyframe:
    """The imagined picture of the codes [h, w]."""
    return Keyframe(pixels(vision, grid), views)


def pixels(vision: VisionTokenizer, grid: Grid) -> Rgb:
    """rgb [H, W, 3] uint8 of the codes [h, w]."""
    ids = torch.from_numpy(grid).to(next(vision.parameters()).device)[None]
    return to_rgb(vision.decode(ids)[0])


def _resize(rgb: Rgb, width: int, height: int) -> Rgb:
    if rgb.shape[:2] == (height, width):
        return rgb
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
