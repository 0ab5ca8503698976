"""The LeRobot dataset, read by pyarrow and held to the rules of the v3.0 format.

The rules are those that the package lerobot relies on; tools/check_lerobot.py asks the package itself.
"""

import json

import cv2
import numpy as np
import pytest

from sim.export.formats import export

pq = pytest.importorskip("pyarrow.parquet", reason="see requirements/export.txt")
VIEWS = ("observation.images.front", "observation.images.side")


@pytest.fixture(scope="module")
def out(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot") / "out"
    export(run, "lerobot", folder)
    return folder


@pytest.fixture(scope="module")
def info(out):
    return json.loads((out / "meta/info.json").read_text())


@pytest.fixture(scope="module")
def frames(out):
    return [row for path in sorted(out.glob("data/*/*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def episodes(out):
    paths = sorted(out.glob("meta/episodes/*/*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def lines(run):
    return [(shard, line) for shard in run.shards for line in shard.lines()]


def decode(image):
    return cv2.imdecode(np.frombuffer(image["bytes"], np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def test_info_counts_and_types_every_column(out, info, frames, episodes):
    assert info["codebase_version"] == "v3.0"
    assert info["total_frames"] == len(frames)
    assert info["total_episodes"] == len(episodes)
    assert info["splits"] == {"train": f"0:{len(episodes)}"}
    assert info["fps"] > 0
    schema = pq.read_schema(out / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(schema.names) == set(info["features"])
    expected = {"float32": "float", "int64": "int64", "bool": "bool", "string": "string"}
    for name, feature in info["features"].items():
        assert "/" not in name
        if feature["dtype"] == "image":
            assert feature["names"] == ["height", "width", "channels"]
            assert list(decode(frames[0][name]).shape) == feature["shape"]
        else:
            assert feature["shape"] == [1]
            assert str(schema.field(name).type) == expected[feature["dtype"]]
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        assert name in info["features"]
    told = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert {name for name, kind in told.items() if kind["_type"] == "Image"} == set(VIEWS)


def test_frames_are_numbered_without_a_gap(info, frames, episodes):
    assert [frame["index"] for frame in frames] == list(range(len(frames)))
    assert [episode["episode_index"] for episode in episodes] == list(range(len(episodes)))
    end = 0
    for number, episode in enumerate(episodes):
        first, end_of_last, end = episode["dataset_from_index"], end, episode["dataset_to_index"]
        assert first == end_of_last
        assert episode["length"] == end - first
        mine = frames[first:end]
        assert {frame["episode_index"] for frame in mine} == {number}
        assert [frame["frame_index"] for frame in mine] == list(range(len(mine)))
        assert [frame["timestamp"] * info["fps"] for frame in mine] == list(range(len(mine)))
        assert [frame["next.done"] for frame in mine] == [False] * (len(mine) - 1) + [True]


def test_each_episode_names_the_file_that_holds_it(out, info, episodes):
    held = {}
    for episode in episodes:
        place = {"chunk_index": episode["data/chunk_index"], "file_index": episode["data/file_index"]}
        held.setdefault(info["data_path"].format(**place), []).append(episode["episode_index"])
        meta = f"meta/episodes/chunk-{episode['meta/episodes/chunk_index']:03d}"
        path = out / meta / f"file-{episode['meta/episodes/file_index']:03d}.parquet"
        there = pq.read_table(path, columns=["episode_index"])["episode_index"].to_pylist()
        assert episode["episode_index"] in there
    assert len(held) == 3
    for path, numbers in held.items():
        file = pq.ParquetFile(out / path)
        assert sorted(set(file.read(["episode_index"])["episode_index"].to_pylist())) == numbers
        assert file.num_row_groups == len(numbers)


def test_tasks_are_an_index_of_pandas(out, info, frames, episodes):
    table = pq.read_table(out / "meta/tasks.parquet")
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    words = dict(zip(table["task_index"].to_pylist(), table["task"].to_pylist(), strict=True))
    assert sorted(words) == list(range(info["total_tasks"]))
    for episode in episodes:
        mine = frames[episode["dataset_from_index"] : episode["dataset_to_index"]]
        assert {words[frame["task_index"]] for frame in mine} == set(episode["tasks"])


def test_pixels_and_words_are_the_runs(lines, frames, episodes):
    index = 0
    for (shard, line), episode in zip(lines, episodes, strict=True):
        assert (episode["family"], episode["seed"]) == (line["family"], line["seed"])
        assert episode["tasks"] == [line["instruction"]]
        subgoals = [step["subgoal"] for step in line["steps"]]
        for number, picture in enumerate(shard.pictures(line)):
            frame = frames[index]
            assert np.array_equal(np.concatenate([decode(frame[view]) for view in VIEWS], axis=1), picture)
            assert frame["subgoal"] == (*subgoals, "")[number]
            assert json.loads(frame["symbolic_state"]) == line["states"][number]
            index += 1
    assert index == len(frames)


def test_statistics_are_those_of_the_frames(out, frames, episodes):
    stats = json.loads((out / "meta/stats.json").read_text())
    assert set(stats) == {
        *VIEWS,
        "timestamp",
        "frame_index",
        "episode_index",
        "index",
        "task_index",
        "next.done",
    }
    for view in VIEWS:
        pixels = np.stack([decode(frame[view]) for frame in frames]).reshape(-1, 3) / 255.0
        for name, value in (("mean", pixels.mean(0)), ("std", pixels.std(0)), ("min", pixels.min(0))):
            assert np.allclose(np.array(stats[view][name]), value.reshape(3, 1, 1), atol=1e-12)
        assert stats[view]["count"] == [len(frames)]
        first = pixels[: episodes[0]["length"] * 192 * 192]
        median = np.quantile(first, 0.5, axis=0, method="inverted_cdf")
        assert np.allclose(np.ravel(episodes[0][f"stats/{view}/q50"]), median, atol=1e-12)
        assert stats[view]["q01"][0] <= stats[view]["q50"][0] <= stats[view]["q99"][0]
    numbers = np.array([frame["task_index"] for frame in frames])
    assert np.allclose(stats["task_index"]["std"], numbers.std(), atol=1e-12)
    assert stats["index"]["max"] == [len(frames) - 1]
