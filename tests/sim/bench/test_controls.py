"""Controls and cheats: required orderings on a few scenes, and no trick that scores."""

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from emu_planner.plan import Step
from sim.bench.cheats import CHEATS, recipe
from sim.bench.controls import CONTROLS, SHORT, Known, Remember, scrambled, shuffled
from sim.bench.evaluate import oracle_steps
from sim.bench.judge import SceneScore, judge
from sim.bench.metrics import PICTURED
from sim.bench.suite import SceneName
from sim.bench.trail import Trail
from sim.oracle import OraclePlanner
from sim.scene import BENCHMARK_FIRST_SEED
from sim.world import World

# three families; a few steps each
SCENES = (
    SceneName("container", BENCHMARK_FIRST_SEED + 3),
    SceneName("stack", BENCHMARK_FIRST_SEED + 8),
    SceneName("zone", BENCHMARK_FIRST_SEED + 9),
)


def coarse(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A tokenizer's loss, about: half the resolution."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (picture.shape[1], picture.shape[0])), np.uint8)


def patches(picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """What a tokenizer makes of random codes, about: squares of 16 px of the table's and blocks' colours."""
    height, width = (side // 16 for side in picture.shape[:2])
    found = picture.reshape(-1, 3)[np.random.default_rng(seed).integers(0, picture.size // 3, height * width)]
    return np.kron(found.reshape(height, width, 3), np.ones((16, 16, 1), np.uint8)).astype(np.uint8)


@dataclass(frozen=True)
class Scores:
    """Scores of all controls and cheats, by name, one a scene."""

    by_name: dict[str, list[SceneScore]]

    def mean(self, name: str, metric: str = "score") -> float:
        rows = self.by_name[name]
        values = [row.score if metric == "score" else row.metrics[metric] for row in rows]
        assert all(value is not None for value in values)
        return sum(value for value in values if value is not None) / len(values)


@pytest.fixture(scope="module")
def scores() -> Scores:
    found: dict[str, list[SceneScore]] = {}
    with World() as world, World() as elsewhere:
        oracle = OraclePlanner(world)
        for name in SCENES:
            other = SceneName(name.family, name.seed + 1)
            with Trail(world, name) as trail:
                asked = Remember(oracle)
                _, made = judge(trail, asked, "oracle")
                known = Known(
                    trail, asked, partial(oracle_steps, elsewhere, other), made, asked, coarse, patches,
                    partial(oracle_steps, elsewhere, other),
                )  # fmt: skip
                for control, what in CONTROLS.items():
                    planner = what.make(known)
                    assert planner is not None
                    trip = coarse if control in ("oracle-through-tokenizer", "random-tokens") else None
                    score, _ = judge(trail, planner, control, round_trip=trip)
                    found.setdefault(control, []).append(score)
                for cheat in CHEATS:
                    score, _ = judge(trail, cheat(), cheat.__name__)
                    found.setdefault(cheat.__name__, []).append(score)
        oracle.close()
    return Scores(found)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_oracle_is_above_all(scores: Scores) -> None:
    best = scores.mean("oracle")
    assert best > 0.98
    ceiling = scores.mean("oracle-through-tokenizer")
    assert best >= ceiling > 0.9
    for name in scores.by_name:
        if name not in ("oracle", "oracle-through-tokenizer"):
            assert scores.mean(name) < 0.6, name


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_copying_and_noise_are_at_the_bottom_though_their_words_are_right(scores: Scores) -> None:
    for name in ("copy-first", "copy-last", "noise", "random-tokens"):
        assert scores.mean(name, "success_closed") == 1.0
        assert scores.mean(name, "success_open") == 1.0
        assert scores.mean(name, "agreement") == 0.0
        assert scores.mean(name) == 0.0
    # copying keeps the room as it is, and noise does not
    assert scores.mean("copy-last", "background") > 0.99
    assert all(scores.mean("noise", metric) == 0.0 for metric in PICTURED)
    for metric in ("agreement", "configuration", "feasible"):
        assert scores.mean("random-tokens", metric) == 0.0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_each_part_of_a_plan_is_needed(scores: Scores) -> None:
    # words alone do the task and imagine nothing
    assert scores.mean("text-only", "success_open") == 1.0
    assert scores.mean("text-only", "configuration") == 0.0
    assert scores.mean("text-only") == 0.0
    # pictures alone do nothing
    assert scores.mean("image-only", "valid") == 0.0
    assert scores.mean("image-only", "progress_open") == 0.0
    # order matters
    assert scores.mean("shuffled-steps", "agreement") < scores.mean("oracle", "agreement") - 0.3
    assert scores.mean("shuffled-steps", "progress_open") < scores.mean("oracle", "progress_open") - 0.3
    # the instruction matters to who reads it: the grammar reads no scrambled sentence
    assert scores.mean("scrambled-instruction") == 0.0
    # possible is not useful, and a right plan is right for its scene only
    assert scores.mean("random-feasible", "agreement") == 1.0
    assert scores.mean("random-feasible", "success_closed") < 0.5
    for name in ("other-scene", "nearest-neighbour"):
        assert scores.mean(name, "success_open") == 0.0
        assert scores.mean(name) < 0.1


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda c: c.__name__)
def test_no_cheat_scores(scores: Scores, cheat: type) -> None:
    assert scores.mean(cheat.__name__) < 0.02
    assert scores.mean(cheat.__name__, "agreement") < 0.3


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_cheats_with_pictures_do_say_the_right_words(scores: Scores) -> None:
    # else they would be held down by their words, and show nothing about pictures
    assert scores.mean("CopiesThePicture", "success_open") > 0.6
    assert scores.mean("PicksAndReturns", "valid") == 1.0


def test_there_are_many_cheats_and_each_says_what_it_does() -> None:
    assert len(CHEATS) >= 12
    assert all(cheat.__doc__ and "topped" in cheat.__doc__ for cheat in CHEATS)
    assert recipe("stack the red block on the blue block")[1] == "place the red block on the blue block"
    assert recipe("put the red block in the blue box")[1] == "place the red block in the blue box"


def test_the_short_list_is_of_controls() -> None:
    assert set(SHORT) <= set(CONTROLS)


@pytest.mark.parametrize("seed", range(20))
def test_scrambling_and_shuffling_change_the_order_and_lose_nothing(seed: int) -> None:
    sentence = "stack the red block on the blue block"
    changed = scrambled(sentence, seed)
    assert changed != sentence
    assert sorted(changed.split()) == sorted(sentence.split())
    assert scrambled(sentence, seed) == changed
    assert scrambled("go", seed) == "go"
    steps = shuffled((Step(0, "a"), Step(1, "b"), Step(2, "c")), seed)
    assert [step.index for step in steps] != [0, 1, 2]
    assert sorted(step.index for step in steps) == [0, 1, 2]
