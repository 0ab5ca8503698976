"""The simulated rig without ROS: cameras, words, and taking a step back."""

import threading

import pytest

from emu_planner.plan import Frame, Observation, PlanComplete, StepComplete, Still, Task
from sim.rig import Rig, RigConfig


class Eye:
    """Keeps what the cameras show."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Frame]] = {"front": [], "side": []}
        self.news = threading.Condition()

    def __call__(self, frame: Frame) -> None:
        with self.news:
            self.seen[frame.camera].append(frame)
            self.news.notify_all()

    def wait_for(self, count: int) -> None:
        with self.news:
            assert self.news.wait_for(lambda: all(len(s) >= count for s in self.seen.values()), 20.0)


def never() -> bool:
    return False


def test_the_oracles_plan_is_carried_out_word_by_word():
    eye = Eye()
    with Rig(RigConfig("stack", 7, rate_hz=50.0, time_factor=100.0), eye) as rig:
        eye.wait_for(3)
        still = Still(Observation((eye.seen["front"][-1], eye.seen["side"][-1])))
        events = list(rig.plan(Task(rig.instruction), still))
        assert isinstance(events[-1], PlanComplete)
        steps = [event.step for event in events if isinstance(event, StepComplete)]
        assert not all(rig.success().values())
        for step in steps:
            assert rig.carry_out(step.subgoal, never) == (True, "")
        assert all(rig.success().values())
        count = len(eye.seen["front"])
        eye.wait_for(count + 2)
        moved = eye.seen["front"][-1]
        assert (moved.rgb != eye.seen["front"][0].rgb).any()
        stamps = [frame.stamp_s for frame in eye.seen["front"]]
        assert stamps == sorted(set(stamps))


def test_words_that_mean_nothing_and_what_is_taken_back():
    with Rig(RigConfig("stack", 7, time_factor=100.0), Eye()) as rig:
        done, why = rig.carry_out("sing a song", never)
        assert not done
        assert "sing a song" in why
        before = rig.success()
        done, why = rig.carry_out("pick up the orange block", lambda: True)
        assert (done, "taken back" in why) == (False, True)
        assert rig.success() == before
        assert rig.carry_out("pick up the orange block", never) == (True, ""), "it can go on from there"


@pytest.mark.parametrize("wrong", [{"rate_hz": 0.0}, {"time_factor": -1.0}])
def test_settings_that_make_no_sense(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="above 0"):
        RigConfig(**wrong)
