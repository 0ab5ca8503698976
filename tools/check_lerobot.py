"""Ask the package lerobot itself whether it reads an export as the run it came from.

    python tools/check_lerobot.py RUN EXPORT

Needs an environment of its own with lerobot, opencv-python-headless and numpy, and nothing of this
repository. lerobot is no requirement here: it brings gigabytes that no room needs.
"""

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lerobot.datasets.compute_stats import aggregate_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset

VIEWS = ("observation.images.front", "observation.images.side")


def episodes(run: Path) -> Iterator[tuple[dict[str, Any], list[np.ndarray]]]:
    """Each record and its pictures [H, W, 3] RGB, read without this repository's code."""
    for path in sorted(run.glob("shard-*.jsonl")):
        frames = path.with_suffix(".frames").read_bytes()
        for text in path.read_text().splitlines():
            line = json.loads(text)
            data = [np.frombuffer(frames[o : o + n], np.uint8) for o, n in line["frames"]]
            yield line, [np.asarray(cv2.imdecode(d, cv2.IMREAD_COLOR))[:, :, ::-1] for d in data]


def check_frames(dataset: LeRobotDataset, run: Path) -> int:
    """Compare every frame; returns how many there are. AssertionError: one differs."""
    index = 0
    for number, (line, pictures) in enumerate(episodes(run)):
        episode = dataset.meta.episodes[number]
        assert (episode["seed"], episode["dataset_from_index"]) == (line["seed"], index)
        subgoals = [*(step["subgoal"] for step in line["steps"]), ""]
        for step, picture in enumerate(pictures):
            item = dataset[index]
            sides = [(item[view].numpy() * 255).round().astype(np.uint8) for view in VIEWS]
            assert np.array_equal(np.concatenate(sides, axis=2).transpose(1, 2, 0), picture)
            assert (item["task"], item["subgoal"]) == (line["instruction"], subgoals[step])
            assert (int(item["episode_index"]), int(item["frame_index"])) == (number, step)
            assert bool(item["next.done"]) == (step == len(pictures) - 1)
            assert json.loads(item["symbolic_state"]) == line["states"][step]
            index += 1
    assert index == len(dataset) == dataset.meta.total_frames
    return index


def check_statistics(dataset: LeRobotDataset) -> float:
    """Greatest difference between our statistics and lerobot's own sum of the episodes'."""
    import pyarrow.parquet as pq

    paths = sorted(Path(dataset.root).glob("meta/episodes/*/*.parquet"))
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    worst = 0.0
    for name, stats in dataset.meta.stats.items():
        parts = [{name: {k: np.array(row[f"stats/{name}/{k}"]) for k in stats}} for row in rows]
        theirs = aggregate_stats(parts)[name]
        assert theirs.keys() == stats.keys()
        worst = max(worst, *(float(np.abs(theirs[k] - stats[k]).max()) for k in stats))
    return worst


def main() -> int:
    """Check and say what was read."""
    parser = argparse.ArgumentParser(description="Check an export with the package lerobot.")
    parser.add_argument("run", type=Path, help="folder of `emu-planner data sim`")
    parser.add_argument("export", type=Path, help="folder of `emu-planner data export --format lerobot`")
    args = parser.parse_args()
    dataset = LeRobotDataset("emu_planner/episodes", root=args.export)
    count = check_frames(dataset, args.run)
    some = LeRobotDataset("emu_planner/episodes", root=args.export, episodes=[0, dataset.num_episodes - 1])
    ahead = LeRobotDataset("emu_planner/episodes", root=args.export, delta_timestamps={VIEWS[0]: [0.0, 1.0]})
    assert ahead[0][VIEWS[0]].shape[0] == 2
    version = importlib.metadata.version("lerobot")
    print(f"lerobot {version}: {dataset.num_episodes} episodes, {count} frames equal")
    print(f"two episodes alone: {len(some)} frames")
    print(f"statistics differ from its own sum by at most {check_statistics(dataset):.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
