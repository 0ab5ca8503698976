"""Episodes survive the disk, resume, and never come from the benchmark."""

from pathlib import Path

import numpy as np
import pytest

from sim import data, episode, robots
from sim.data import EpisodeReader
from sim.language import parse
from sim.scene import BENCHMARK_FIRST_SEED, Skill, training_seed
from sim.tasks import FAMILIES, FIRST, make_scene, trained_robots
from sim.world import World


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("episodes")
    counts = data.write(path, episodes=8, first_seed=40)
    assert counts["seeds"] == 8
    assert counts["written"] + counts["dropped"] == 8
    assert counts["written"] >= 7
    return path


def test_records_read_back_as_they_were_simulated(folder: Path) -> None:
    reader = EpisodeReader(folder)
    records = list(reader)
    assert {record.family for record in records} == {"stack", "container", "sort", "zone"}
    record = records[2]
    with World() as world:
        again = episode.record(world, record.family, record.seed)
    assert record.instruction == again.scene.instruction
    assert record.subgoals == tuple(taken.subgoal for taken in again.steps)
    assert record.skills == tuple(taken.skill for taken in again.steps)
    assert record.states == again.states
    assert all(record.success.values())
    for index, picture in enumerate(again.pictures):
        assert np.array_equal(reader.frame(record, index), picture)
    scene = make_scene(record.family, record.seed)
    assert [parse(text, scene) for text in record.subgoals] == list(record.skills)


def test_robots_take_turns_and_records_name_them(tmp_path: Path) -> None:
    names = tuple(robots.ROBOTS)
    assert [data.robot_of(seed, names) for seed in (0, 3, 4, 8, 12, 16)] == [
        "panda", "panda", "kuka", "xarm", "mobile", "panda",
    ]  # fmt: skip
    # every robot meets every family
    met = {(data.robot_of(seed, names), data.family_of(seed)) for seed in range(len(names) * len(FIRST))}
    assert len(met) == len(names) * len(FIRST)
    data.write(tmp_path, episodes=2, first_seed=7, robot="all")
    reader = EpisodeReader(tmp_path)
    records = list(reader)
    assert [(record.seed, record.robot) for record in records] == [(7, "kuka"), (8, "xarm")]
    with World() as world:
        again = episode.record(world, records[0].family, 7, "kuka")
    assert records[0].states == again.states
    assert np.array_equal(reader.frame(records[0], 1), again.pictures[1])
    with pytest.raises(ValueError, match="holds the run"):
        data.write(tmp_path, episodes=2, first_seed=7, robot="kuka")


def test_an_unknown_robot_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown robot 'ur5'.*panda, kuka, xarm, mobile"):
        data.write(tmp_path / "no", episodes=2, robot="ur5")
    assert not (tmp_path / "no").exists()


def test_a_run_from_before_there_were_robots_goes_on_as_the_pandas(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"episodes": 1, "first_seed": 40}\n')
    assert data.write(tmp_path, episodes=1, first_seed=40)["seeds"] == 1
    assert [record.robot for record in EpisodeReader(tmp_path)] == ["panda"]


def test_a_suffix_starts_in_the_middle(folder: Path) -> None:
    reader = EpisodeReader(folder)
    record = next(r for r in reader if len(r.subgoals) >= 2)
    rest = record.suffix(1)
    assert rest.start == 1
    assert rest.subgoals == record.subgoals[1:]
    assert len(rest.frames) == len(rest.states) == len(rest.subgoals) + 1
    assert np.array_equal(reader.frame(rest, 0), reader.frame(record, 1))
    assert record.suffix(len(record.subgoals)).subgoals == ()
    with pytest.raises(ValueError, match="step 99"):
        record.suffix(99)


def test_writing_again_keeps_whole_shards_and_leaves_no_parts(folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    data.write(folder, episodes=8, first_seed=40)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")} == before
    assert not list(folder.glob("*.tmp"))
    with pytest.raises(ValueError, match="holds the run"):
        data.write(folder, episodes=9, first_seed=40)


def test_benchmark_seeds_are_refused(tmp_path: Path) -> None:
    assert training_seed(BENCHMARK_FIRST_SEED - 1) == BENCHMARK_FIRST_SEED - 1
    for seed in (BENCHMARK_FIRST_SEED, -1):
        with pytest.raises(ValueError, match="not for training"):
            training_seed(seed)
    with pytest.raises(ValueError, match="not for training"):
        data.write(tmp_path / "no", episodes=2, first_seed=BENCHMARK_FIRST_SEED - 1)
    assert not (tmp_path / "no").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        EpisodeReader(tmp_path / "nowhere")


def test_families_take_turns_when_asked_for_and_only_then(tmp_path: Path) -> None:
    assert [data.family_of(seed) for seed in range(5)] == [*FIRST, FIRST[0]]
    every = tuple(FAMILIES)
    assert [data.family_of(seed, every) for seed in range(len(every))] == list(every)
    data.write(tmp_path, episodes=2, first_seed=2, families="button,row")
    reader = EpisodeReader(tmp_path)
    records = list(reader)
    assert [(record.seed, record.family) for record in records] == [(2, "button"), (3, "row")]
    with World() as world:
        for record in records:
            again = episode.record(world, record.family, record.seed)
            assert record.skills == tuple(taken.skill for taken in again.steps)
            assert record.states == again.states
            scene = again.scene
            assert [parse(text, scene) for text in record.subgoals] == list(record.skills)
    # a lamp, a stage and a relation came back from the disk
    assert records[0].states[-1].parts[0].relation == "lit"
    assert records[0].states[-1].stage == 1
    assert any(fact.relation == "right_of" for fact in records[1].states[-1].spatial)
    with pytest.raises(ValueError, match="holds the run"):
        data.write(tmp_path, episodes=2, first_seed=2)


def test_a_robot_is_not_asked_for_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"kuka cannot do push.*panda"):
        data.write(tmp_path, episodes=2, robot="kuka", families="stack,push")
    with pytest.raises(ValueError, match="unknown family 'juggle'"):
        data.write(tmp_path, episodes=2, families="juggle")
    names = ("panda", "kuka", "xarm", "mobile")
    met = {data.robot_of(seed, names, ("push", "stack")) for seed in range(0, 40, 2)}
    assert met == {"panda", "xarm"}


def test_imagined_episodes_tell_what_executed_ones_do(tmp_path: Path) -> None:
    """The same seeds: the same words and states; pixels differ by how exactly things are put down."""
    for steps in ("executed", "imagined"):
        data.write(tmp_path / steps, episodes=4, first_seed=40, steps=steps)
    executed, imagined = (EpisodeReader(tmp_path / steps) for steps in ("executed", "imagined"))
    compared = 0
    for one, other in zip(executed, imagined, strict=True):
        assert (one.seed, one.instruction, one.subgoals) == (other.seed, other.instruction, other.subgoals)
        assert one.states == other.states
        for index in range(len(one.frames)):
            difference = executed.frame(one, index).astype(np.int16) - imagined.frame(other, index)
            assert (np.abs(difference).max(axis=2) > 24).mean() < 0.01
            compared += 1
    assert compared > 8
    with pytest.raises(ValueError, match="holds the run"):
        data.write(tmp_path / "imagined", episodes=4, first_seed=40)


# of these the writer drops seed 41: physics goes wrong on the way
SLIPS = ("pyramid", "row")


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_skill_of_every_family_is_imagined_as_physics_has_it(family: str) -> None:
    names = trained_robots(family)
    seed = 42 if family in SLIPS else 41
    with World() as world:
        executed, imagined = (
            episode.record(world, family, seed, names[seed % len(names)], steps=steps)
            for steps in episode.STEPS
        )
    assert imagined.steps == executed.steps
    assert imagined.states == executed.states


def test_an_impossible_skill_is_not_imagined() -> None:
    with World() as world:
        scene = world.reset("stack", 1)
        with pytest.raises(episode.ImperfectError, match="does not hold"):
            episode.imagine(world, Skill("place", scene.items[0].name, "table"))
