"""Scenes of the benchmark: their names, the files that list them, and a suite's hash."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from sim import robots
from sim.scene import BENCHMARK_FIRST_SEED

SUITES = Path(__file__).parents[1] / "suites"


@dataclass(frozen=True)
class SceneName:
    """One scene of a suite."""

    family: str
    seed: int
    robot: str = robots.DEFAULT

    def __str__(self) -> str:
        return f"{self.family}/{self.seed}/{self.robot}"

    @property
    def sampling_seed(self) -> int:
        """The seed that a planner samples with: a function of the scene that does not name it."""
        return int.from_bytes(hashlib.sha256(f"sampling/{self}".encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Suite:
    """A list of scenes with its name and version."""

    name: str
    version: int
    scenes: tuple[SceneName, ...]
    # all scenes, when `scenes` is a part of them
    whole: tuple[SceneName, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of name, version and every scene of the whole, in their order."""
        text = "\n".join([self.name, str(self.version), *map(str, self.whole or self.scenes)])
        return hashlib.sha256(text.encode()).hexdigest()

    def first(self, count: int | None) -> "Suite":
        """The same suite, of which only the first scenes are run. None: all."""
        return replace(self, scenes=self.scenes[:count], whole=self.whole or self.scenes)

    def next_of_family(self, scene: SceneName) -> SceneName:
        """The scene that follows in the same family, round the end; another seed if there is one only."""
        family = [s for s in self.whole or self.scenes if (s.family, s.robot) == (scene.family, scene.robot)]
        other = family[(family.index(scene) + 1) % len(family)]
        return other if other != scene else SceneName(scene.family, scene.seed + 1, scene.robot)


def read_suite(name: str) -> Suite:
    """A suite, by its name or the path of its file.

    Raises:
        ValueError: there is none, or a scene's seed belongs to training, or its robot is unknown.
    """
    path = Path(name) if name.endswith(".json") else SUITES / f"{name}.json"
    if not path.exists():
        have = sorted(p.stem for p in SUITES.glob("*.json"))
        raise ValueError(f"no suite {name!r}: have {have}, or give the path of a .json file")
    data = json.loads(path.read_text())
    scenes = tuple(SceneName(**row) for row in data["scenes"])
    for scene in scenes:
        robots.known(scene.robot)
        if scene.seed < BENCHMARK_FIRST_SEED:
            raise ValueError(f"{scene} has a training seed; expected {BENCHMARK_FIRST_SEED} or more")
    if not scenes or len(set(scenes)) != len(scenes):
        raise ValueError(f"{path}: a suite needs scenes, and each once")
    return Suite(data.get("name", path.stem), int(data.get("version", 1)), scenes)
