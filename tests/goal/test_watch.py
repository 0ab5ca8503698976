"""A step watched with the simulator's real pictures: before, after, covered, and after something else."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

pytest.importorskip("pybullet")

from emu_planner.goal.feed import CameraFeed
from emu_planner.goal.states import PlannedStep, StepState
from emu_planner.goal.watch import StepWatch, resized
from emu_planner.plan import Frame, Keyframe, Observation, Step, Verdict
from sim.bench.progress import displaced
from sim.camera import VIEWS
from sim.oracle import next_skill
from sim.world import World

# not held out
SEED = 10


@dataclass(frozen=True)
class Pictures:
    """Of one step; the views side by side."""

    start: np.ndarray
    half_way: np.ndarray
    done: np.ndarray
    displaced: np.ndarray


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    with World() as world:
        scene = world.reset("stack", SEED)
        skill = next_skill(scene.goal, world.state())
        start, before = world.picture(), world.snapshot()
        on_the_way = []
        world.on_step = lambda: world.steps % 24 == 0 and on_the_way.append(world.picture())
        assert world.execute(skill).ok
        world.on_step = None
        done = world.picture()
        world.restore(before)
        assert displaced(world, np.random.default_rng(SEED))
        return Pictures(start, on_the_way[len(on_the_way) // 2], done, world.picture())


def frames_of(picture: np.ndarray, stamp_s: float, scale: int = 1) -> tuple[Frame, ...]:
    large = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    views = np.hsplit(large, len(VIEWS))
    return tuple(Frame(view, name, stamp_s) for view, name in zip(views, VIEWS, strict=True))


class Watched:
    """A step of these pictures, and cameras to look through."""

    def __init__(self, pictures: Pictures, scale: int = 1, **changes):
        self.feed, self.stamp_s, self.scale = CameraFeed(VIEWS), 0.0, scale
        planned_from = Observation(frames_of(pictures.start, 0.0, scale))
        made = PlannedStep(Step(0, "lift it", Keyframe(pictures.done, VIEWS)), 1, StepState.ACTIVE, 0.0, 0.0)
        arguments = {"made": made, "planned_from": planned_from, "max_age_s": 60.0, **changes}
        self.watch = StepWatch(self.feed, **arguments)

    def show(self, picture: np.ndarray) -> None:
        self.stamp_s += 1.0
        for frame in frames_of(picture, self.stamp_s, self.scale):
            self.feed.put(frame)

    def sees(self, picture: np.ndarray) -> tuple[Verdict, int]:
        self.show(picture)
        look = self.watch.look()
        assert look is not None
        assert (look.reason, look.stamp_s) == ("", self.stamp_s)
        return look.verdict, look.drifting


def test_a_step_from_its_start_to_its_end(pictures: Pictures):
    watched = Watched(pictures)
    seen = [watched.sees(p)[0] for p in (pictures.start, pictures.half_way, pictures.done)]
    assert seen == [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.REACHED]


@pytest.mark.parametrize("scale", [2, 3, 7])
def test_cameras_need_not_have_the_keyframes_size(pictures: Pictures, scale: int):
    watched = Watched(pictures, scale)
    assert watched.sees(pictures.done) == (Verdict.REACHED, 0)
    assert watched.sees(pictures.displaced) == (Verdict.DRIFTING, 1)


def test_drifting_looks_are_counted_in_a_row(pictures: Pictures):
    watched = Watched(pictures)
    said = [watched.sees(pictures.displaced) for _ in range(3)]
    assert said == [(Verdict.DRIFTING, 1), (Verdict.DRIFTING, 2), (Verdict.DRIFTING, 3)]
    covered = np.full_like(pictures.start, 200)
    covered[::2] = 20
    assert watched.sees(covered) == (Verdict.UNKNOWN, 0)
    assert watched.sees(pictures.displaced) == (Verdict.DRIFTING, 1)


def test_a_picture_is_looked_at_once(pictures: Pictures):
    watched = Watched(pictures)
    assert watched.sees(pictures.displaced) == (Verdict.DRIFTING, 1)
    assert watched.watch.look() is None
    assert watched.sees(pictures.displaced) == (Verdict.DRIFTING, 2)


def test_a_look_takes_no_picture_from_the_planner(pictures: Pictures):
    watched = Watched(pictures)
    watched.sees(pictures.start)
    watched.show(pictures.start)
    counts = watched.feed.counts()
    assert (counts.sent, counts.superseded) == (0, len(VIEWS)), "nobody took the first one"


def test_without_a_picture_that_shows_the_work_nothing_is_known(pictures: Pictures):
    watched = Watched(pictures)
    look = watched.watch.look()
    assert (look.verdict, look.reason) == (Verdict.UNKNOWN, "no fresh picture of front, side")
    assert watched.sees(pictures.displaced) == (Verdict.DRIFTING, 1)
    watched.feed.clear()
    look = watched.watch.look()
    assert (look.verdict, look.drifting) == (Verdict.UNKNOWN, 0)
    late = Watched(pictures, max_age_s=0.0)
    late.show(pictures.displaced)
    assert late.watch.look().reason == "no fresh picture of front, side"


def test_a_picture_from_before_the_work_is_none(pictures: Pictures):
    feed = CameraFeed(VIEWS)
    for frame in frames_of(pictures.done, 5.0):
        feed.put(frame)
    made = PlannedStep(Step(0, "lift it", Keyframe(pictures.done, VIEWS)), 1, StepState.ACTIVE, 0.0, 0.0)
    watch = StepWatch(feed, made, Observation(frames_of(pictures.start, 0.0)), 60.0)
    assert watch.look().reason == "no fresh picture of front, side"
    for frame in frames_of(pictures.done, 50.0):
        feed.put(frame)
    assert watch.look().verdict is Verdict.REACHED


def test_a_step_that_cannot_be_watched_says_why(pictures: Pictures):
    step = Step(0, "lift it", Keyframe(pictures.done, VIEWS))
    made = PlannedStep(step, 1, StepState.ACTIVE, 0.0, 0.0)
    one_view = Observation(frames_of(pictures.start, 0.0)[:1])
    for changes, words in (
        ({"made": replace(made, step=Step(0, "lift it"))}, "no keyframe"),
        ({"made": replace(made, original="lift that")}, "edited"),
        ({"planned_from": None}, "not known"),
        ({"planned_from": one_view}, "side"),
    ):
        watched = Watched(pictures, **changes)
        watched.show(pictures.displaced)
        look = watched.watch.look()
        assert look.verdict is Verdict.UNKNOWN
        assert words in look.reason


def test_a_resized_pixel_is_the_mean_of_those_it_covers():
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (24, 36, 3), dtype=np.uint8)
    assert np.array_equal(resized(picture, 24, 36), picture)
    means = picture.reshape(8, 3, 9, 4, 3).mean(axis=(1, 3))
    assert np.abs(resized(picture, 8, 9) - means).max() <= 0.5
    assert np.array_equal(resized(picture, 48, 36), picture.repeat(2, axis=0))
    assert resized(picture, 7, 5).shape == (7, 5, 3)
