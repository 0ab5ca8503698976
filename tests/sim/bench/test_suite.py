"""Suites are held out, told apart by their hash, and cut without becoming another."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sim.bench.suite import SceneName, read_suite
from sim.scene import BENCHMARK_FIRST_SEED
from sim.tasks import FAMILIES


def test_the_quick_suite_is_held_out_and_covers_the_families() -> None:
    suite = read_suite("quick")
    assert len(suite.scenes) == len(set(suite.scenes)) == 100
    assert all(scene.seed >= BENCHMARK_FIRST_SEED for scene in suite.scenes)
    families = [scene.family for scene in suite.scenes]
    assert set(families) <= set(FAMILIES)
    assert all(families.count(name) >= 20 for name in set(families))


def test_a_suite_of_training_seeds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"scenes": [{"family": "stack", "seed": BENCHMARK_FIRST_SEED - 1}]}))
    with pytest.raises(ValueError, match="training seed"):
        read_suite(str(path))
    path.write_text(json.dumps({"scenes": [{"family": "stack", "seed": BENCHMARK_FIRST_SEED}] * 2}))
    with pytest.raises(ValueError, match="each once"):
        read_suite(str(path))
    with pytest.raises(ValueError, match="quick"):
        read_suite("nothing")


def test_the_hash_names_the_whole_suite() -> None:
    suite = read_suite("quick")
    assert suite.first(3).sha256 == suite.sha256
    assert len(suite.first(3).scenes) == 3
    assert replace(suite, version=suite.version + 1).sha256 != suite.sha256
    assert replace(suite, scenes=suite.scenes[1:]).sha256 != suite.sha256


def test_the_next_scene_of_a_family_does_not_depend_on_the_cut() -> None:
    suite = read_suite("quick")
    for scene in suite.scenes[:8]:
        other = suite.next_of_family(scene)
        assert other.family == scene.family
        assert other != scene
        assert suite.first(1).next_of_family(scene) == other


def test_the_sampling_seed_does_not_name_the_scene() -> None:
    scenes = [SceneName("zone", BENCHMARK_FIRST_SEED + i) for i in range(50)]
    seeds = {scene.sampling_seed for scene in scenes}
    assert len(seeds) == 50
    assert seeds.isdisjoint({scene.seed for scene in scenes})
