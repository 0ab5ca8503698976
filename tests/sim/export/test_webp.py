"""The WebP shards, read by OpenCV alone and by the trainings' own reader."""

import json

import cv2
import numpy as np
import pytest

from sim.data import EpisodeReader
from sim.export.formats import export


@pytest.fixture(scope="module")
def out(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("webp") / "out"
    export(run, "webp", folder)
    return folder


def test_opencv_reads_the_very_pixels(run, out):
    count = 0
    for shard in run.shards:
        raw = (out / f"{shard.name}.frames").read_bytes()
        rows = [json.loads(row) for row in (out / f"{shard.name}.jsonl").read_text().splitlines()]
        for line, row in zip(shard.lines(), rows, strict=True):
            for picture, (offset, length) in zip(shard.pictures(line), row["frames"], strict=True):
                data = raw[offset : offset + length]
                # RIFF container, WebP, and the bitstream that loses nothing
                assert (data[:4], data[8:16]) == (b"RIFF", b"WEBPVP8L")
                bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                assert np.array_equal(bgr[:, :, ::-1], picture)
                count += 1
        assert sum(length for row in rows for _, length in row["frames"]) == len(raw)
    assert count == sum(len(line["frames"]) for shard in run.shards for line in shard.lines())


def test_the_reader_of_the_trainings_takes_it_for_episodes(run, out):
    ours, theirs = EpisodeReader(run.folder), EpisodeReader(out)
    assert theirs.finished
    for before, after in zip(ours, theirs, strict=True):
        assert (after.seed, after.subgoals, after.states) == (before.seed, before.subgoals, before.states)
        last = len(before.subgoals)
        assert np.array_equal(theirs.frame(after, last), ours.frame(before, last))


def test_it_is_smaller(run, out):
    def size(folder):
        return sum(path.stat().st_size for path in folder.glob("*.frames"))

    assert size(out) < size(run.folder) / 2
