"""The suite of 331 scenes: balanced, held out by construction, and drawn as its manifest says."""

import json
from collections import Counter

import pytest

from sim.scene import BENCHMARK_FIRST_SEED, training_seed
from sim.tasks import FAMILIES, make_scene, robots_for
from tools.make_embodied_suite import COUNT, FIRST_SEED, PATH, check, difficulty, digest, shares, whole

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


def test_scenes_are_drawn_as_the_manifest_says() -> None:
    assert check() == []


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
