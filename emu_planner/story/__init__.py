"""Stories: interleaved words, thoughts and pictures, in files of the published protobuf form.

    story = read("story_000.pb"); write("copy.pb", story)

Needs protobuf, numpy and OpenCV. Knows no model, no network and no robot.
"""

from emu_planner.story.draft import Draft
from emu_planner.story.files import StoryError, read, write
from emu_planner.story.images import pack_picture, unpack_picture
from emu_planner.story.nouns import Clip, Image, ImageFormat, ImageMeta, Segment, Story, TimeStamp

__all__ = [
    "Clip",
    "Draft",
    "Image",
    "ImageFormat",
    "ImageMeta",
    "Segment",
    "Story",
    "StoryError",
    "TimeStamp",
    "pack_picture",
    "read",
    "unpack_picture",
    "write",
]
