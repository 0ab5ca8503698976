"""What is asked of a generation: the task, the words, the pictures, and how tokens are chosen.

The settings carry the published names and, for each task, the published defaults
(baaivision/Emu3.5, configs/). Pure values: needs numpy alone, knows no model.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

# Pixels a published visual code is wide and high.
PIXELS_PER_TOKEN = 16
# The largest picture: 2048 x 2048 px.
MAX_AREA = 2048 * 2048
# The published limit of one prompt.
MAX_IMAGES = 3
# Published sizes (h, w) in tokens of a picture of about 1024 x 1024 px.
ASPECT_RATIOS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "4:3": (55, 73),
        "21:9": (41, 97),
        "16:9": (47, 85),
        "3:2": (52, 78),
        "1:1": (64, 64),
        "3:4": (73, 55),
        "9:16": (85, 47),
        "2:3": (78, 52),
        "default": (55, 73),
    }
)
# Guidance: against the prompt without words, or also against one without words and pictures.
UNCONDITIONAL_TYPES = ("no_text", "no_text_img_cfg")
# How images are decoded. The same codes either way: one code a pass, or as many as were guessed right.
# Other codes, by a checkpoint that is adapted to it: all of an image at once, refined in a few passes.
DECODERS = ("raster", "jacobi", "dida")
# How processes share a model: each has a part of every layer, or the whole and some rows of guidance.
SHARES = ("tensor", "guidance")
_SIZE = re.compile(r"([1-9]\d*)\*([1-9]\d*)")


class RequestError(ValueError):
    """What was asked for cannot be done; the message says what was wrong and what to do."""


@dataclass(frozen=True)
class Settings:
    """How an answer is generated. The defaults are those of the published configs/config.py."""

    # weight of the words against no words, inside pictures; 1: none
    classifier_free_guidance: float = 3.0
    # what guidance contrasts with: see UNCONDITIONAL_TYPES
    unconditional_type: str = "no_text"
    # weight of the reference pictures against none, with no_text_img_cfg; 1: none
    image_cfg_scale: float = 1.0

    # sampling of words and thoughts; top_k 0: all, 1: always the most likely token
    text_top_k: int = 1024
    text_top_p: float = 0.9
    text_temperature: float = 1.0
    # sampling of visual codes, and of a size that the model chooses
    image_top_k: int = 10240
    image_top_p: float = 1.0
    image_temperature: float = 1.0

    # pixels that a reference picture is resized to, and that a named aspect ratio is scaled to
    image_area: int = 518400
    # size of every picture: "auto", a name of ASPECT_RATIOS, or "h*w" in tokens (published:
    # target_height, target_width); auto is the size of the reference picture, else the model's
    # choice of two digits a side
    aspect_ratio: str = "auto"
    # one size for all pictures of an answer; None, as published: unless there are several references
    force_same_image_size: bool | None = None
    # most tokens of an answer
    max_new_tokens: int = 32768

    def __post_init__(self) -> None:
        for name in ("classifier_free_guidance", "image_cfg_scale", "text_temperature", "image_temperature"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RequestError(f"{name} is {value}; expected a number of 0 or more")
        if self.unconditional_type not in UNCONDITIONAL_TYPES:
            raise RequestError(
                f"unconditional_type is {self.unconditional_type!r}; expected one of "
                f"{list(UNCONDITIONAL_TYPES)}"
            )
        for kind in ("text", "image"):
            top_k, top_p = getattr(self, f"{kind}_top_k"), getattr(self, f"{kind}_top_p")
            if top_k < 0 or not 0 < top_p <= 1:
                raise RequestError(
                    f"{kind}_top_k is {top_k} and {kind}_top_p {top_p}; expected 0 or more, and above 0 to 1"
                )
        if not PIXELS_PER_TOKEN**2 <= self.image_area <= MAX_AREA:
            raise RequestError(
                f"image_area is {self.image_area} px; expected {PIXELS_PER_TOKEN**2} to {MAX_AREA} "
                "(2048 x 2048)"
            )
        if self.max_new_tokens < 1:
            raise RequestError(f"max_new_tokens is {self.max_new_tokens}; expected 1 or more")
        self.target_size()

    def target_size(self) -> tuple[int, int] | None:
        """The size (h, w) in tokens that is asked for; None: auto.

        A named ratio has its published size at about 1024 x 1024 px; at another area its sides are
        scaled by the published rule (third_party/vllm, batch_manager): whole pixels a token.

        Raises:
            RequestError: aspect_ratio is unreadable, or the picture too small or too large.
        """
        if self.aspect_ratio == "auto":
            return None
        if written := _SIZE.fullmatch(self.aspect_ratio):
            height, width = int(written[1]), int(written[2])
        elif self.aspect_ratio in ASPECT_RATIOS:
            height, width = ASPECT_RATIOS[self.aspect_ratio]
            side = math.isqrt(self.image_area // (height * width))
            height, width = (length * side // PIXELS_PER_TOKEN for length in (height, width))
        else:
            raise RequestError(
                f"the size {self.aspect_ratio!r} is none of {['auto', *ASPECT_RATIOS]} and not "
                'written in tokens, height first, as "36*64"'
            )
        most = MAX_AREA // PIXELS_PER_TOKEN**2
        if not 1 <= height * width <= most:
            raise RequestError(
                f"the size {self.aspect_ratio!r} at an image_area of {self.image_area} px is "
                f"{height}*{width}, {height * width} tokens; expected 1 to {most} (2048 x 2048 px)"
            )
        return height, width


# The published example of each task; none was published for vla, which has the defaults. For
# classifier_free_guidance the authors recommend 3 where text and pictures alternate, for t2i and x2i
# 2 with Emu3.5 and 5 with Emu3.5-Image.
SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "t2i": Settings(
            classifier_free_guidance=5.0,
            image_top_k=5120,
            image_area=1048576,
            aspect_ratio="default",
            max_new_tokens=5120,
        ),
        "x2i": Settings(image_top_k=5120, image_area=1048576, max_new_tokens=5120),
        "howto": Settings(text_top_k=200, text_top_p=0.8, text_temperature=0.7),
        "story": Settings(),
        "explore": Settings(text_top_k=200, text_top_p=0.5, text_temperature=0.7, image_top_k=5120),
        "vla": Settings(),
    }
)


@dataclass(frozen=True, eq=False)
class Request:
    """One generation.

    Raises:
        RequestError: the task is unknown, there are no words, or the pictures do not fit the task.
    """

    # one of SETTINGS
    task: str
    # what is asked, in the user's words; special tokens written in it are ordinary characters
    prompt: str
    # reference pictures, rgb [H, W, 3] uint8 of any size
    images: tuple[NDArray[np.uint8], ...] = ()
    # None: the checkpoint's own for its task, else the published ones of the task
    settings: Settings | None = None

    def __post_init__(self) -> None:
        if self.task not in SETTINGS:
            raise RequestError(f"the task {self.task!r} is unknown; expected one of {list(SETTINGS)}")
        if not self.prompt.strip():
            raise RequestError("the prompt is empty; say in words what to generate")
        if self.task == "x2i" and not self.images:
            raise RequestError("x2i edits pictures and was given none; give 1 to 3 reference images")
        if len(self.images) > MAX_IMAGES:
            raise RequestError(f"{len(self.images)} reference images; the model takes at most {MAX_IMAGES}")
        for number, image in enumerate(self.images, start=1):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise RequestError(
                    f"reference image {number}: expected uint8 [H, W, 3], "
                    f"got {image.dtype} {list(image.shape)}"
                )
