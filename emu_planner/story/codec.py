"""Nouns to and from the bytes of the published protobuf form.

Fields that the form does not know are not kept, and a picture format that it does not know is read
as UNKNOWN; everything else survives, and the same story always gives the same bytes.
"""

from dataclasses import fields
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from emu_planner.story import story_pb2 as pb
from emu_planner.story.errors import StoryError
from emu_planner.story.nouns import Clip, Image, ImageFormat, ImageMeta, Segment, Story, TimeStamp

Noun = TypeVar("Noun", Story, Clip, Segment, ImageMeta, Image, TimeStamp)

# fields that hold one message, and fields that hold many, by name: no name means two things
_ONE: dict[str, Any] = {"timestamp": TimeStamp, "image": Image}
_MANY: dict[str, Any] = {
    "clips": Clip,
    "segments": Segment,
    "images": ImageMeta,
    "reference_images": ImageMeta,
}
_MAPS = ("features", "scores")


def to_bytes(story: Story) -> bytes:
    """The story as protobuf. StoryError: a field holds what the form cannot."""
    message = pb.Story()
    try:
        _fill(message, story)
        return bytes(message.SerializeToString(deterministic=True))
    except (TypeError, ValueError) as error:
        raise StoryError(f"this story cannot be written: {error}") from error


def from_bytes(data: bytes) -> Story:
    """The story in protobuf bytes.

    Raises:
        StoryError: the data is truncated or damaged, or is something else. Data that was cut exactly
            between two steps cannot be told from a shorter story.
    """
    if not data:
        raise StoryError("it is empty: 0 bytes")
    message = pb.Story()
    try:
        message.ParseFromString(data)
    except (DecodeError, UnicodeDecodeError) as error:
        raise StoryError(
            f"its {len(data)} bytes are no story, or a truncated or damaged one ({error})"
        ) from error
    if not message.ListFields():
        raise StoryError("it is protobuf, but of another kind: no field of a story is in it")
    return _read(Story, message)


def _fill(message: Message, noun: Any) -> None:
    """Copy a noun's fields into the message of its kind."""
    for name in (field.name for field in fields(noun)):
        value = getattr(noun, name)
        if name in _ONE:
            if value is not None:
                getattr(message, name).SetInParent()
                _fill(getattr(message, name), value)
        elif name in _MANY:
            for inner in value:
                _fill(getattr(message, name).add(), inner)
        elif name in _MAPS:
            getattr(message, name).update(value)
        else:
            setattr(message, name, value)


def _read(kind: type[Noun], message: Message) -> Noun:
    """The noun in a message of its kind."""
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(kind)):
        value = getattr(message, name)
        if name in _ONE:
            values[name] = _read(_ONE[name], value) if message.HasField(name) else None
        elif name in _MANY:
            values[name] = tuple(_read(_MANY[name], inner) for inner in value)
        elif name in _MAPS:
            values[name] = dict(value)
        elif name == "format":
            known = value in ImageFormat._value2member_map_
            values[name] = ImageFormat(value) if known else ImageFormat.UNKNOWN
        else:
            values[name] = value
    return kind(**values)
