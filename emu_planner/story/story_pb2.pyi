from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

BMP: ImageFormat
DESCRIPTOR: _descriptor.FileDescriptor
JPEG: ImageFormat
PNG: ImageFormat
UNKNOWN: ImageFormat
WEBP: ImageFormat

class Clip(_message.Message):
    __slots__ = ["caption", "clip_id", "segments", "story", "timestamp"]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    CLIP_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    STORY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    caption: str
    clip_id: str
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    story: str
    timestamp: TimeStamp
    def __init__(self, clip_id: _Optional[str] = ..., timestamp: _Optional[_Union[TimeStamp, _Mapping]] = ..., story: _Optional[str] = ..., caption: _Optional[str] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ["format", "height", "image_data", "image_path", "width"]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DATA_FIELD_NUMBER: _ClassVar[int]
    IMAGE_PATH_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    format: ImageFormat
    height: int
    image_data: bytes
    image_path: str
    width: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., format: _Optional[_Union[ImageFormat, str]] = ..., image_data: _Optional[bytes] = ..., image_path: _Optional[str] = ...) -> None: ...

class ImageMeta(_message.Message):
    __slots__ = ["caption", "chain_of_thought", "cot_translate", "detail_caption", "features", "image", "image_id", "is_keyframe_status", "scores", "timestamp"]
    class FeaturesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    class ScoresEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_OF_THOUGHT_FIELD_NUMBER: _ClassVar[int]
    COT_TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_CAPTION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    IS_KEYFRAME_STATUS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    caption: str
    chain_of_thought: str
    cot_translate: str
    detail_caption: str
    features: _containers.ScalarMap[str, bytes]
    image: Image
    image_id: str
    is_keyframe_status: int
    scores: _containers.ScalarMap[str, float]
    timestamp: TimeStamp
    def __init__(self, image_id: _Optional[str] = ..., timestamp: _Optional[_Union[TimeStamp, _Mapping]] = ..., caption: _Optional[str] = ..., detail_caption: _Optional[str] = ..., features: _Optional[_Mapping[str, bytes]] = ..., scores: _Optional[_Mapping[str, float]] = ..., chain_of_thought: _Optional[str] = ..., cot_translate: _Optional[str] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., is_keyframe_status: _Optional[int] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ["asr", "asr_translate", "caption", "images", "timestamp"]
    ASR_FIELD_NUMBER: _ClassVar[int]
    ASR_TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    asr: str
    asr_translate: str
    caption: str
    images: _containers.RepeatedCompositeFieldContainer[ImageMeta]
    timestamp: TimeStamp
    def __init__(self, timestamp: _Optional[_Union[TimeStamp, _Mapping]] = ..., asr: _Optional[str] = ..., caption: _Optional[str] = ..., asr_translate: _Optional[str] = ..., images: _Optional[_Iterable[_Union[ImageMeta, _Mapping]]] = ...) -> None: ...

class Story(_message.Message):
    __slots__ = ["clips", "deprecate_reason", "deprecated", "question", "question_translate", "reference_images", "refined_summary", "refined_summary_translate", "story_id", "summary", "summary_translate"]
    CLIPS_FIELD_NUMBER: _ClassVar[int]
    DEPRECATED_FIELD_NUMBER: _ClassVar[int]
    DEPRECATE_REASON_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    QUESTION_TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    REFINED_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    REFINED_SUMMARY_TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    STORY_ID_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    clips: _containers.RepeatedCompositeFieldContainer[Clip]
    deprecate_reason: str
    deprecated: bool
    question: str
    question_translate: str
    reference_images: _containers.RepeatedCompositeFieldContainer[ImageMeta]
    refined_summary: str
    refined_summary_translate: str
    story_id: str
    summary: str
    summary_translate: str
    def __init__(self, story_id: _Optional[str] = ..., clips: _Optional[_Iterable[_Union[Clip, _Mapping]]] = ..., deprecated: bool = ..., deprecate_reason: _Optional[str] = ..., summary: _Optional[str] = ..., question: _Optional[str] = ..., refined_summary: _Optional[str] = ..., question_translate: _Optional[str] = ..., summary_translate: _Optional[str] = ..., refined_summary_translate: _Optional[str] = ..., reference_images: _Optional[_Iterable[_Union[ImageMeta, _Mapping]]] = ...) -> None: ...

class TimeStamp(_message.Message):
    __slots__ = ["end", "start"]
    END_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    end: float
    start: float
    def __init__(self, start: _Optional[float] = ..., end: _Optional[float] = ...) -> None: ...

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
