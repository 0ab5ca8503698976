"""Story files: the published bytes, an independent reader of the published schema, broken files."""

import os
import random

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from emu_planner.story import (
    Clip,
    Draft,
    Image,
    ImageFormat,
    ImageMeta,
    Segment,
    Story,
    StoryError,
    TimeStamp,
    read,
    unpack_picture,
    write,
)
from emu_planner.story.codec import from_bytes
from emu_planner.story.files import replace_file
from emu_planner.story.layout import lay_out
from tests.golden import FOLDER

GOLDEN = FOLDER / "story.pb"

# The published fields: name, number, type; "[]" repeats, "{}" is a map from strings.
PUBLISHED = {
    "TimeStamp": "start 1 double, end 2 double",
    "Image": "width 1 int32, height 2 int32, format 3 ImageFormat, image_data 4 bytes, image_path 5 string",
    "ImageMeta": "image_id 1 string, timestamp 2 TimeStamp, caption 3 string, detail_caption 4 string, "
    "features 5 {}bytes, scores 6 {}double, chain_of_thought 7 string, cot_translate 8 string, "
    "image 11 Image, is_keyframe_status 12 sint32",
    "Segment": "timestamp 1 TimeStamp, asr 2 string, caption 3 string, asr_translate 4 string, "
    "images 101 []ImageMeta",
    "Clip": "clip_id 1 string, timestamp 2 TimeStamp, story 11 string, caption 21 string, "
    "segments 101 []Segment",
    "Story": "story_id 1 string, clips 2 []Clip, deprecated 3 bool, deprecate_reason 4 string, "
    "summary 11 string, question 12 string, refined_summary 13 string, question_translate 14 string, "
    "summary_translate 15 string, refined_summary_translate 16 string, reference_images 17 []ImageMeta",
}
FULL = Story(
    story_id="s",
    deprecated=True,
    deprecate_reason="why",
    summary="first look, then move",
    question="stack \u4e24\u4e2a blocks",
    refined_summary="r",
    question_translate="q",
    summary_translate="t",
    refined_summary_translate="u",
    reference_images=(ImageMeta(image=Image(image_path="elsewhere.png")),),
    clips=(
        Clip(
            "clip_0000",
            TimeStamp(0.5, 2.25),
            "a story",
            "a caption",
            (
                Segment(
                    TimeStamp(),
                    "words",
                    "c",
                    "a",
                    (
                        ImageMeta(
                            "i",
                            TimeStamp(1.0, 0.0),
                            "c",
                            "d",
                            {"b": b"\x00\xff", "a": b""},
                            {"z": 1.5, "y": -2.0},
                            "thought",
                            "th",
                            Image(3, 4, ImageFormat.WEBP, b"\x01\x02"),
                            -7,
                        ),
                    ),
                ),
            ),
        ),
        Clip(),
    ),
)


@pytest.fixture(scope="module")
def published():
    """A class that reads stories by the published table alone, not by our generated code."""
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", package="emu3p5.story", syntax="proto3")
    formats = file.enum_type.add(name="ImageFormat")
    for number, name in enumerate(("UNKNOWN", "JPEG", "PNG", "WEBP", "BMP")):
        formats.value.add(name=name, number=number)
    for kind, table in PUBLISHED.items():
        message = file.message_type.add(name=kind)
        for line in table.split(", "):
            add_field(message, *line.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("emu3p5.story.Story"))


def add_field(message, name, number, kind):
    field = message.field.add(name=name, number=int(number), label=3 if kind[0] in "[{" else 1)
    if kind.startswith("{}"):
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        add_field(entry, "key", 1, "string")
        add_field(entry, "value", 2, kind[2:])
        kind = f"{message.name}.{entry.name}"
    kind = kind.removeprefix("[]")
    types = descriptor_pb2.FieldDescriptorProto
    if kind[0].isupper():
        field.type_name = f".emu3p5.story.{kind}"
        field.type = types.TYPE_ENUM if kind == "ImageFormat" else types.TYPE_MESSAGE
    else:
        field.type = getattr(types, f"TYPE_{kind.upper()}")


def test_the_published_writer_s_story_is_read():
    story = read(GOLDEN)
    assert story.question == "How do I stack two blocks? 0"
    assert story.summary == "First look, then move."
    assert [clip.clip_id for clip in story.clips] == ["clip_0000", "clip_0001"]
    first, second = story.segments()
    assert (first.asr, second.asr) == ("Grasp the red block.", "Lift it.")
    assert first.images[0].chain_of_thought == "gripper closes"
    shapes = [unpack_picture(meta.image).shape for meta in (*first.images, *second.images)]
    assert shapes == [(60, 100, 3), (91, 37, 3)]
    assert unpack_picture(story.reference_images[0].image).shape == (64, 64, 3)


def test_writing_it_again_gives_the_same_bytes(tmp_path):
    write(tmp_path / "again.pb", read(GOLDEN))
    assert (tmp_path / "again.pb").read_bytes() == GOLDEN.read_bytes()


def test_the_published_schema_reads_every_field_that_we_write(tmp_path, published):
    write(tmp_path / "full.pb", FULL)
    assert read(tmp_path / "full.pb") == FULL
    data = (tmp_path / "full.pb").read_bytes()
    story = published.FromString(data)
    # every field arrives where the published table has it: the same bytes come out
    assert story.SerializeToString(deterministic=True) == data
    assert story.question == FULL.question
    assert story.deprecated
    image = story.clips[0].segments[0].images[0]
    assert dict(image.features) == {"b": b"\x00\xff", "a": b""}
    assert dict(image.scores) == {"z": 1.5, "y": -2.0}
    assert (image.is_keyframe_status, image.image.format, image.image.height) == (-7, 3, 4)
    assert (image.timestamp.start, image.chain_of_thought) == (1.0, "thought")
    assert story.clips[0].segments[0].HasField("timestamp")
    assert not story.clips[1].HasField("timestamp")


def test_we_read_every_field_of_the_published_schema(tmp_path, published):
    story = published(question="q", story_id="s")
    meta = story.clips.add(clip_id="c").segments.add(asr="words").images.add(chain_of_thought="t")
    meta.scores["x"] = 0.25
    meta.image.format = 9  # of a later form
    (tmp_path / "theirs.pb").write_bytes(story.SerializeToString())
    read_meta = ImageMeta(scores={"x": 0.25}, chain_of_thought="t", image=Image())
    segment = Segment(asr="words", images=(read_meta,))
    assert read(tmp_path / "theirs.pb") == Story("s", (Clip("c", segments=(segment,)),), question="q")


def test_a_draft_gives_the_published_writer_s_bytes(tmp_path):
    """The golden story was made by the same calls; only PNG compressors may differ."""
    golden = read(GOLDEN)
    pictures = [unpack_picture(meta.image) for seg in golden.segments() for meta in seg.images]
    draft = Draft(golden.question, [unpack_picture(meta.image) for meta in golden.reference_images])
    draft.think(golden.summary)
    draft.tell("Grasp the red block.")
    draft.think_of_picture("gripper closes")
    draft.draw(pictures[0])
    draft.tell("Lift it.")
    draft.draw(pictures[1])
    draft.think_of_picture("this one never comes")
    story = draft.story()
    assert without_data(story) == without_data(golden)
    drawn = [unpack_picture(meta.image) for seg in story.segments() for meta in seg.images]
    for ours, theirs in zip(drawn, pictures, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def without_data(story):
    text = repr(story)  # image_data is not in it
    assert "PNG" in text
    return text


def test_a_draft_keeps_a_thought_until_its_picture_comes():
    rgb = np.zeros((2, 3, 3), np.uint8)
    draft = Draft("q")
    draft.think_of_picture("a")
    draft.draw(rgb)
    draft.draw(rgb)
    draft.think_of_picture("lost")
    assert [meta.chain_of_thought for meta in draft.story().clips[0].segments[0].images] == ["a", ""]
    draft.tell("next")  # the published writer drops only a trailing thought
    first, second = draft.story().segments()
    assert [meta.chain_of_thought for meta in first.images] == ["a", "", "lost"]
    assert (first.asr, second.asr, second.images) == ("", "next", ())
    assert Draft("q").story() == Story(question="q")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "0 bytes"),
        (b"this is a letter to a friend, not a story", "no story"),
        (GOLDEN.read_bytes()[:-100], "truncated"),
        (GOLDEN.read_bytes()[:5000], "truncated"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no story"),
        (b"\x08\x96\x01", "another kind"),
        (b"\x62\x02\xff\xfe", "no story"),  # a question that is not UTF-8
    ],
)
def test_broken_files_are_told_in_words(tmp_path, data, told):
    path = tmp_path / "broken.pb"
    path.write_bytes(data)
    with pytest.raises(StoryError, match=told) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_files_that_are_missing_or_too_large_are_told_in_words(tmp_path):
    with pytest.raises(StoryError, match="there is no file"):
        read(tmp_path / "nothing.pb")
    with pytest.raises(StoryError, match="there is no file"):
        read(tmp_path)
    with pytest.raises(StoryError, match="16129 bytes, more than the 1000"):
        read(GOLDEN, max_bytes=1000)


@pytest.mark.parametrize(
    "story",
    [
        Story(question="\udcff"),
        Story(reference_images=(ImageMeta(image=Image(width=2**40)),)),
        Story(question=3),
    ],
)
def test_what_the_form_cannot_hold_is_refused_and_leaves_no_file(tmp_path, story):
    with pytest.raises(StoryError, match="cannot be written"):
        write(tmp_path / "x.pb", story)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.pb"
    write(path, Story(question="old"))

    def full_disk(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(path, Story(question="new"))
    assert read(path).question == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["x.pb"]


def test_a_file_is_replaced_and_not_overwritten(tmp_path):
    path = tmp_path / "x.pb"
    write(path, Story(question="old"))
    with path.open("rb") as reader:
        write(path, Story(question="new"))
        # who had the old file open still reads it whole
        assert from_bytes(reader.read()).question == "old"
    assert read(path).question == "new"
    assert [child.name for child in tmp_path.iterdir()] == ["x.pb"]


def test_a_file_is_as_open_to_others_as_any_other(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    replace_file(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_damaged_bytes_are_a_story_or_an_error_in_words_and_nothing_else():
    whole, chance, told = GOLDEN.read_bytes(), random.Random(0), 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            told += sum(item.is_picture and item.image is None for item in lay_out(from_bytes(bytes(data))))
        except StoryError:
            told += 1
    assert told > 100
