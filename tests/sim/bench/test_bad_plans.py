"""Bad plans get the verdict that the rule which made them states: tests/data/bad_plans.json."""

import itertools
import json
from collections.abc import Iterator

import pytest

from emu_planner.plan import Keyframe, Report, Step
from sim.bench import metrics
from sim.bench.judge import make_score, score_steps
from sim.bench.plans import Taken
from sim.bench.suite import SceneName
from sim.bench.trail import Trail
from sim.camera import VIEWS
from sim.world import World
from tests.sim.bench.bad_plans import FILE, RULES, SCENES, draw, make

PLANS = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


def test_the_file_is_what_the_rules_make() -> None:
    assert json.loads(json.dumps(list(make()))) == PLANS
    assert len(PLANS) == len(RULES) * len(SCENES) >= 100


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENES, ids=str)
def test_bad_plans_get_their_verdicts(world: World, name: SceneName) -> None:
    wrong = []
    with Trail(world, name) as trail:
        for plan in PLANS:
            if plan["scene"] != [name.family, name.seed]:
                continue
            got = verdict(trail, plan)
            for metric, (low, high) in plan["expect"].items():
                if not low <= got[metric] <= high:
                    wrong.append(f"{plan['rule']}: {metric} {got[metric]:.4f}, expected {low} to {high}")
    assert wrong == []


def verdict(trail: Trail, plan: dict) -> dict[str, float]:
    """The open-loop metrics of a plan; its score as if the closed loop did what the open loop does."""
    pictures = [draw(trail, recipe) for _, recipe in plan["steps"]]
    steps = tuple(
        Step(i, words, None if picture is None else Keyframe(picture, VIEWS))
        for i, ((words, _), picture) in enumerate(zip(plan["steps"], pictures, strict=True))
    )
    scores, skills = score_steps(trail, steps, None)
    taken = Taken(Report(trail.scene.instruction, steps, "stop"))
    vector = dict(make_score(trail, "bad", taken, scores, skills).metrics)
    vector["progress_closed"] = vector["progress_open"]
    got = {name: value for name, value in vector.items() if value is not None}
    score = metrics.score(vector)
    assert score is not None
    return {**got, "score": score}


def test_every_metric_is_brought_to_nothing_by_some_rule() -> None:
    bounds = itertools.chain.from_iterable(plan["expect"].items() for plan in PLANS)
    broken = {metric for metric, (_, high) in bounds if high == 0}
    assert broken >= {*metrics.SCORED, "success_open", "score"} - {"progress_closed"}
