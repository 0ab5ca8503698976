"""The bag of a scene: the plan's keyframes beside what was seen, read back by the mcap package."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from sim.bench import scene_bag
from sim.bench.evaluate import oracle_steps
from sim.bench.kept_plans import keep_plan
from sim.bench.trail import Trail
from sim.shard_reader import decode_png
from sim.shards import views_of
from sim.world import World
from tests.sim.bench.conftest import CONTAINER
from tests.sim.bench.results import results

pytest.importorskip("rosbags", reason="see requirements/export.txt")
make_reader = pytest.importorskip("mcap.reader", reason="see requirements/dev.txt").make_reader


def test_a_bag_holds_what_was_planned_and_what_was_seen(world: World, tmp_path: Path) -> None:
    from rosbags.typesys import Stores, get_typestore

    steps = oracle_steps(world, CONTAINER)
    keep_plan(tmp_path / "plans", CONTAINER, steps)
    (tmp_path / "results.json").write_text(json.dumps(results("mine", {str(CONTAINER): 0.5})))
    for _ in range(2):
        # an older one is replaced
        folder = scene_bag.write(tmp_path, str(CONTAINER))
    assert sorted(path.name for path in folder.iterdir()) == [f"{folder.name}.mcap", "metadata.yaml"]
    assert list(folder.parent.iterdir()) == [folder]
    types, heard = get_typestore(Stores.ROS2_JAZZY), defaultdict(list)
    with (folder / f"{folder.name}.mcap").open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            heard[channel.topic].append(types.deserialize_cdr(message.data, schema.name))
    assert [said.data for said in heard["/subgoal"]] == [*(step.subgoal for step in steps), ""]
    assert json.loads(heard["/row"][0].data)["scene"] == str(CONTAINER)
    assert heard["/task"][0].data == json.loads(heard["/row"][0].data)["instruction"]
    with Trail(world, CONTAINER) as trail:
        skills = trail.needed()
        real = [trail.at(skills[:count]).picture for count in range(len(skills) + 1)]
    assert len(steps) >= 2
    for view in ("front", "side"):
        seen = [decode_png(m.data.tobytes()) for m in heard[f"/{view}/image_raw/compressed"]]
        planned = [decode_png(m.data.tobytes()) for m in heard[f"/{view}/predicted/compressed"]]
        decoded = heard[f"/{view}/decoded/compressed"]
        assert (len(seen), len(planned), len(decoded)) == (len(steps) + 1, len(steps), len(steps))
        for picture, wanted in zip(seen, real, strict=True):
            assert np.array_equal(picture, views_of(wanted)[view])
        # the oracle's keyframe is what is seen next
        for picture, wanted in zip(planned, real[1:], strict=True):
            assert np.array_equal(picture, views_of(wanted)[view])


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bench sim"):
        scene_bag.write(tmp_path, str(CONTAINER))
    (tmp_path / "results.json").write_text(json.dumps(results("mine", {str(CONTAINER): 0.5})))
    with pytest.raises(ValueError, match=f"no scene 'zone/1/panda'.*{CONTAINER}"):
        scene_bag.write(tmp_path, "zone/1/panda")
    with pytest.raises(ValueError, match="no plan of"):
        scene_bag.write(tmp_path, str(CONTAINER))
