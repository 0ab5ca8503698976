"""The embodied suites: balanced, held out by construction, and drawn as their manifests say."""

import json
from collections import Counter

import pytest

from sim.bench.suite import read_suite
from sim.scene import BENCHMARK_FIRST_SEED, training_seed
from sim.tasks import FAMILIES, GROUPS, make_scene, robots_for
from tools.make_embodied_suite import (
    COUNT,
    FIRST_SEED,
    MAKERS,
    PATH,
    check,
    difficulty,
    digest,
    make_short,
    name_of,
    read,
    shares,
    solve_again,
    whole,
)

SUITE = json.loads(PATH.read_text(encoding="ascii"))
SCENES = [(row["family"], row["seed"], row["robot"]) for row in SUITE["scenes"]]


def test_there_are_331_scenes_each_once() -> None:
    assert COUNT == len(SCENES) == len(set(SCENES)) == 331
    assert list(SUITE["manifest"]) == [f"{family}/{seed}/{robot}" for family, seed, robot in SCENES]


def test_families_and_their_robots_are_balanced() -> None:
    assert Counter(family for family, _, _ in SCENES) == shares()
    assert set(shares().values()) == {14, 15}
    for family in FAMILIES:
        robots = Counter(robot for name, _, robot in SCENES if name == family)
        assert tuple(robots) == robots_for(family)
        assert max(robots.values()) - min(robots.values()) <= 1


def test_no_scene_can_be_trained_on() -> None:
    for _, seed, _ in SCENES:
        assert seed >= FIRST_SEED > BENCHMARK_FIRST_SEED
        with pytest.raises(ValueError, match="not for training"):
            training_seed(seed)
    quick = json.loads((PATH.parent / "quick.json").read_text(encoding="ascii"))
    seeds = {(row["family"], row["seed"]) for row in quick["scenes"]}
    assert not seeds & {(family, seed) for family, seed, _ in SCENES}


@pytest.mark.parametrize("name", MAKERS)
def test_scenes_are_drawn_as_the_manifest_says(name: str) -> None:
    assert check(name) == []
    suite = read_suite(name)
    assert suite.name == name
    assert list(map(str, suite.scenes)) == list(read(name)["manifest"])


def test_the_short_suite_is_a_balanced_part_of_the_whole() -> None:
    short = read("embodied-40")
    assert short == make_short()
    assert len(short["scenes"]) == 40
    for row in short["scenes"]:
        assert row in SUITE["scenes"]
        assert short["manifest"][name_of(row)] == SUITE["manifest"][name_of(row)]
    families = Counter(row["family"] for row in short["scenes"])
    assert set(families) == set(FAMILIES)
    assert set(families.values()) == {1, 2}
    groups = Counter(FAMILIES[row["family"]].group for row in short["scenes"])
    assert set(groups) == set(GROUPS)
    assert max(groups.values()) <= 10
    assert min(groups.values()) >= 4
    robots = Counter(row["robot"] for row in short["scenes"])
    assert robots["panda"] == robots["xarm"]
    assert robots["kuka"] == robots["mobile"] >= 5
    steps = Counter(row["difficulty"] for row in short["manifest"].values())
    assert min(steps["short"], steps["medium"], steps["long"]) >= 4


def test_no_suite_shares_a_scene_with_another_but_for_the_part() -> None:
    names = ("quick", PATH.stem, "embodied-generalisation")
    scenes = [{(s.family, s.seed) for s in read_suite(name).scenes} for name in names]
    assert len(set.union(*scenes)) == sum(map(len, scenes))


def test_the_oracle_solves_a_suite_again_as_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = read("embodied-generalisation")
    # the first of each kind
    suite["scenes"] = suite["scenes"][::20]
    monkeypatch.setattr("tools.make_embodied_suite.read", lambda _: suite)
    assert solve_again("embodied-generalisation") == []
    assert "5 of 5 as recorded" in capsys.readouterr().out
    name = name_of(suite["scenes"][0])
    suite["manifest"][name]["steps"] += 1
    assert [told.partition(":")[0] for told in solve_again("embodied-generalisation")] == [name]


def test_a_digest_tells_a_changed_scene() -> None:
    family, seed, robot = SCENES[0]
    scene = make_scene(family, seed, robot)
    assert digest(scene) == SUITE["manifest"][f"{family}/{seed}/{robot}"]["digest"]
    assert digest(make_scene(family, seed + 1, robot)) != digest(scene)
    digests = [row["digest"] for row in SUITE["manifest"].values()]
    assert whole(digests) == SUITE["digest"] != whole(digests[::-1])


def test_difficulty_is_the_number_of_steps() -> None:
    assert [difficulty(steps) for steps in (1, 3, 4, 6, 7, 13)] == [
        "short", "short", "medium", "medium", "long", "long",
    ]  # fmt: skip
    for row in SUITE["manifest"].values():
        assert row["difficulty"] == difficulty(row["steps"])
    words = Counter(row["difficulty"] for row in SUITE["manifest"].values())
    assert min(words.values()) >= 30
    assert max(row["steps"] for row in SUITE["manifest"].values()) >= 9
