"""A LeRobot v3.0 dataset: parquet files with the pictures inside, as the format's dtype "image".

    meta/info.json                             version, features, counts
    meta/stats.json, meta/tasks.parquet        statistics; each instruction with its number
    meta/episodes/chunk-000/file-000.parquet   one row an episode
    data/chunk-000/file-000.parquet            one row a frame

A file a shard, numbered alike. A frame is the moment before a step, or the end: `timestamp` is its
number in seconds, no time that passed. Beside the format's own columns: the views of the picture
(PNG), `subgoal` and `skill` (JSON) that begin there, `symbolic_state` (JSON), `next.done`.
An episode's row also has family, seed, robot and, in `record` (JSON), what else the run knows of it.
There is no `action` and no joint state: a skill is words. Videos are not written: at one frame a
step they would save nothing, and they lose.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sim.camera import VIEWS
from sim.export import lerobot_stats
from sim.export.lerobot_stats import Stats
from sim.export.target import Target
from sim.shard_reader import decode_png, encode_png
from sim.shards import DamageError, Line, Picture, Run, Shard, views_of

FPS = 1  # frames a nominal second: one a step
_FILES_A_CHUNK = 1000
_PNG_EFFORT = 6
_NUMBERS = {
    "timestamp": pa.float32(),
    "frame_index": pa.int64(),
    "episode_index": pa.int64(),
    "index": pa.int64(),
    "task_index": pa.int64(),
    "next.done": pa.bool_(),
}
_TEXTS = ("subgoal", "skill", "symbolic_state")
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_CAMERAS = {view: f"observation.images.{view}" for view in VIEWS}
# what the columns say of a record; the rest goes into the episode's `record`
_IN_COLUMNS = {"family", "seed", "robot", "instruction", "steps", "states", "frames"}


class LeRobotExport:
    """See the module."""

    about = (
        "A LeRobot dataset, codebase version v3.0: `LeRobotDataset(repo_id, root=FOLDER)` reads it. A frame\n"
        "is the moment before a step, or the end; `timestamp` counts frames, it is no time. `subgoal` and\n"
        "`skill` are what begins at the frame (empty at the end), `symbolic_state` is the simulator's\n"
        "truth. There is no `action`."
    )
    card_head = (
        "---\nlicense: apache-2.0\ntask_categories:\n- robotics\ntags:\n- LeRobot\nconfigs:\n"
        "- config_name: default\n  data_files: data/*/*.parquet\n---\n\n"
    )

    def __init__(self, run: Run, target: Target) -> None:
        self.run, self.target = run, target
        # number of each instruction, in order of appearance
        self.tasks: dict[str, int] = {}
        # first episode and first frame of each shard
        self.starts: list[tuple[int, int]] = []
        self.robots: set[str] = set()
        episodes = frames = 0
        for shard in run.shards:
            self.starts.append((episodes, frames))
            for line in shard.lines():
                self.tasks.setdefault(line["instruction"], len(self.tasks))
                self.robots.add(line["robot"])
                episodes, frames = episodes + 1, frames + len(line["frames"])
        self.episodes, self.frames = episodes, frames

    def has(self, shard: Shard) -> bool:
        """Whether both files of a shard are there."""
        return all((self.target.folder / _path(kind, shard)).exists() for kind in ("data", "meta/episodes"))

    def write(self, shard: Shard) -> None:
        """Write the frames and then the episodes of one shard."""
        episode, index = self.starts[shard.index]
        data_part, meta_part = self.target.parts / "data.parquet", self.target.parts / "episodes.parquet"
        rows = []
        # least and greatest of a column of pictures would be pictures: half of the file
        options = {"write_statistics": list(_NUMBERS), "use_dictionary": list(_TEXTS)}
        with pq.ParquetWriter(data_part, _frame_schema(), **options) as writer:
            for line in shard.lines():
                pictures = shard.pictures(line)
                views = {view: [views_of(picture)[view] for picture in pictures] for view in VIEWS}
                numbers = self._numbers(line, episode, index)
                # a row group an episode: each can be read alone
                writer.write_table(_frame_table(line, numbers, views))
                rows.append(_episode_row(shard, line, numbers, _statistics(numbers, views)))
                episode, index = episode + 1, index + len(pictures)
        pq.write_table(pa.Table.from_pylist(rows, _episode_schema()), meta_part)
        self.target.keep(data_part, self.target.folder / _path("data", shard))
        self.target.keep(meta_part, self.target.folder / _path("meta/episodes", shard))

    def finish(self) -> None:
        """Write info, statistics and tasks."""
        info = {
            "codebase_version": "v3.0",
            "robot_type": ",".join(sorted(self.robots)),
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": _FILES_A_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": FPS,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": None,
            "features": self._features(),
        }
        self.target.write_text("meta/info.json", json.dumps(info, indent=4) + "\n")
        self.target.write_text("meta/stats.json", json.dumps(self._all_statistics(), indent=4) + "\n")
        part = self.target.parts / "tasks.parquet"
        pq.write_table(_tasks_table(self.tasks), part)
        self.target.keep(part, self.target.folder / "meta/tasks.parquet")

    def restore(self, shard: Shard) -> Iterator[tuple[Line, list[Picture]]]:
        """The records of a shard, put together again from the columns."""
        folder = self.target.folder
        try:
            tasks = pq.read_table(folder / "meta/tasks.parquet").to_pylist()
            frames = pq.ParquetFile(folder / _path("data", shard))
            episodes = pq.read_table(folder / _path("meta/episodes", shard)).to_pylist()
            words = {row["task_index"]: row["task"] for row in tasks}
            for number, row in enumerate(episodes):
                yield _restore(row, frames.read_row_group(number).to_pylist(), words)
        except (pa.ArrowException, LookupError, ValueError) as error:
            raise DamageError(f"{_path('data', shard)} or its episodes are damaged: {error!r}") from error

    def _numbers(self, line: Line, episode: int, index: int) -> dict[str, np.ndarray]:
        count = len(line["frames"])
        return {
            "timestamp": np.arange(count, dtype=np.float32) / FPS,
            "frame_index": np.arange(count),
            "episode_index": np.full(count, episode),
            "index": np.arange(index, index + count),
            "task_index": np.full(count, self.tasks[line["instruction"]]),
            "next.done": np.arange(count) == count - 1,
        }

    def _features(self) -> dict[str, dict[str, Any]]:
        first = next((views_of(s.pictures(line)[0]) for s in self.run.shards for line in s.lines()), {})
        names = ["height", "width", "channels"]
        return {
            **{
                _CAMERAS[view]: {"dtype": "image", "shape": list(picture.shape), "names": names}
                for view, picture in first.items()
            },
            **{name: {"dtype": "string", "shape": [1], "names": None} for name in _TEXTS},
            **{name: {"dtype": _dtype(kind), "shape": [1], "names": None} for name, kind in _NUMBERS.items()},
        }

    def _all_statistics(self) -> dict[str, dict[str, Any]]:
        tables = [
            pq.read_table(self.target.folder / _path("meta/episodes", shard)).to_pylist()
            for shard in self.run.shards
        ]
        rows = [row for table in tables for row in table]
        if not rows:
            return {}
        everything = {}
        for name in (*_CAMERAS.values(), *_NUMBERS):
            parts = [
                {key: np.array(row[f"stats/{name}/{key}"]) for key in ("count", *_STATISTICS)} for row in rows
            ]
            everything[name] = {key: value.tolist() for key, value in lerobot_stats.aggregate(parts).items()}
        return everything


_STATISTICS = ("min", "max", "mean", "std", *lerobot_stats.QUANTILES)


def _path(kind: str, shard: Shard) -> str:
    chunk, file = divmod(shard.index, _FILES_A_CHUNK)
    return f"{kind}/chunk-{chunk:03d}/file-{file:03d}.parquet"


def _dtype(kind: pa.DataType) -> str:
    return "float32" if kind == pa.float32() else str(kind)


def _frame_schema() -> pa.Schema:
    """Columns of a frame, with what tells `datasets` that the pictures are pictures."""
    fields = [*((key, _IMAGE) for key in _CAMERAS.values()), *((name, pa.string()) for name in _TEXTS)]
    kinds: dict[str, dict[str, str]] = {
        **{key: {"_type": "Image"} for key in _CAMERAS.values()},
        **{name: {"dtype": "string", "_type": "Value"} for name in _TEXTS},
        **{name: {"dtype": _dtype(kind), "_type": "Value"} for name, kind in _NUMBERS.items()},
    }
    schema = pa.schema([*fields, *_NUMBERS.items()])
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": kinds}})})


def _frame_table(line: Line, numbers: dict[str, np.ndarray], views: dict[str, list[Picture]]) -> pa.Table:
    steps = line["steps"]
    columns: dict[str, Any] = {
        _CAMERAS[view]: [
            {"bytes": encode_png(rgb, _PNG_EFFORT), "path": f"{view}-{n}.png"} for n, rgb in enumerate(frames)
        ]
        for view, frames in views.items()
    }
    columns["subgoal"] = [*(step["subgoal"] for step in steps), ""]
    columns["skill"] = [*(json.dumps(step["skill"]) for step in steps), ""]
    columns["symbolic_state"] = [json.dumps(state) for state in line["states"]]
    return pa.table({**columns, **numbers}, schema=_frame_schema())


def _episode_schema() -> pa.Schema:
    fields: list[tuple[str, pa.DataType]] = [
        ("episode_index", pa.int64()),
        ("tasks", pa.list_(pa.string())),
        ("length", pa.int64()),
        ("data/chunk_index", pa.int64()),
        ("data/file_index", pa.int64()),
        ("dataset_from_index", pa.int64()),
        ("dataset_to_index", pa.int64()),
        ("meta/episodes/chunk_index", pa.int64()),
        ("meta/episodes/file_index", pa.int64()),
        ("family", pa.string()),
        ("seed", pa.int64()),
        ("robot", pa.string()),
        ("record", pa.string()),
    ]
    for name in (*_CAMERAS.values(), *_NUMBERS):
        kind = pa.list_(pa.float64())
        if name not in _NUMBERS:
            kind = pa.list_(pa.list_(kind))
        fields += [(f"stats/{name}/{key}", kind) for key in _STATISTICS]
        fields.append((f"stats/{name}/count", pa.list_(pa.int64())))
    return pa.schema(fields)


def _episode_row(
    shard: Shard, line: Line, numbers: dict[str, np.ndarray], stats: dict[str, Stats]
) -> dict[str, Any]:
    chunk, file = divmod(shard.index, _FILES_A_CHUNK)
    return {
        "episode_index": int(numbers["episode_index"][0]),
        "tasks": [line["instruction"]],
        "length": len(line["frames"]),
        "data/chunk_index": chunk,
        "data/file_index": file,
        "dataset_from_index": int(numbers["index"][0]),
        "dataset_to_index": int(numbers["index"][-1]) + 1,
        "meta/episodes/chunk_index": chunk,
        "meta/episodes/file_index": file,
        **{key: line[key] for key in ("family", "seed", "robot")},
        "record": json.dumps({key: value for key, value in line.items() if key not in _IN_COLUMNS}),
        **{
            f"stats/{name}/{key}": value.tolist()
            for name, part in stats.items()
            for key, value in part.items()
        },
    }


def _statistics(numbers: dict[str, np.ndarray], views: dict[str, list[Picture]]) -> dict[str, Stats]:
    return {
        **{_CAMERAS[view]: lerobot_stats.of_pictures(frames) for view, frames in views.items()},
        **{name: lerobot_stats.of_column(values) for name, values in numbers.items()},
    }


def _tasks_table(tasks: dict[str, int]) -> pa.Table:
    """Instructions as pandas' index, which is where LeRobot looks for them."""
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": n, "field_name": n, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}
            for n, kind, numpy_kind in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
        ],
        "pandas_version": "2.0.0",
    }
    schema = pa.schema([("task_index", pa.int64()), ("task", pa.string())], {"pandas": json.dumps(pandas)})
    return pa.table({"task_index": list(tasks.values()), "task": list(tasks)}, schema=schema)


def _restore(
    row: dict[str, Any], frames: list[dict[str, Any]], tasks: dict[int, str]
) -> tuple[Line, list[Picture]]:
    views = [[decode_png(frame[key]["bytes"]) for key in _CAMERAS.values()] for frame in frames]
    line = {
        **json.loads(row["record"]),
        **{key: row[key] for key in ("family", "seed", "robot")},
        "instruction": tasks[frames[0]["task_index"]],
        "steps": [{"subgoal": f["subgoal"], "skill": json.loads(f["skill"])} for f in frames[:-1]],
        "states": [json.loads(frame["symbolic_state"]) for frame in frames],
    }
    return line, [np.concatenate(parts, axis=1) for parts in views]
