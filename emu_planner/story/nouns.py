"""The nouns of a story, one for each message of story.proto, with the published field names.

Empty text, zero and an empty tuple are what the file leaves out; None is a message that is not there.
Knows no protobuf.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class ImageFormat(IntEnum):
    """How a picture is compressed."""

    UNKNOWN = 0
    JPEG = 1
    PNG = 2
    WEBP = 3
    BMP = 4


@dataclass(frozen=True)
class TimeStamp:
    """A span of a video, seconds."""

    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True)
class Image:
    """A compressed picture; its data decides, size and format are what its writer declares."""

    # px
    width: int = 0
    height: int = 0
    format: ImageFormat = ImageFormat.UNKNOWN
    # the file's bytes
    image_data: bytes = field(default=b"", repr=False)
    # where the picture lies if image_data is empty; never followed here
    image_path: str = ""


@dataclass(frozen=True)
class ImageMeta:
    """A picture and what is known of it. Generated stories fill chain_of_thought and image."""

    image_id: str = ""
    timestamp: TimeStamp | None = None
    caption: str = ""
    detail_caption: str = ""
    features: Mapping[str, bytes] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    # what the model thought before it drew the picture
    chain_of_thought: str = ""
    cot_translate: str = ""
    image: Image | None = None
    is_keyframe_status: int = 0


@dataclass(frozen=True)
class Segment:
    """Words and their pictures. Generated stories fill asr and images."""

    timestamp: TimeStamp | None = None
    # the words (named after the speech of a video)
    asr: str = ""
    caption: str = ""
    asr_translate: str = ""
    images: tuple[ImageMeta, ...] = ()


@dataclass(frozen=True)
class Clip:
    """One step of a generated story; it has one segment there."""

    # clip_0000, clip_0001, ...
    clip_id: str = ""
    timestamp: TimeStamp | None = None
    story: str = ""
    caption: str = ""
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Story:
    """What was asked, and the steps that answered. Generated: question, summary, clips, references."""

    story_id: str = ""
    clips: tuple[Clip, ...] = ()
    deprecated: bool = False
    deprecate_reason: str = ""
    # what the model thought before the first step
    summary: str = ""
    # what was asked
    question: str = ""
    refined_summary: str = ""
    question_translate: str = ""
    summary_translate: str = ""
    refined_summary_translate: str = ""
    # pictures that came with the question
    reference_images: tuple[ImageMeta, ...] = ()

    def segments(self) -> Iterator[Segment]:
        """The segments of all clips, in order."""
        for clip in self.clips:
            yield from clip.segments
