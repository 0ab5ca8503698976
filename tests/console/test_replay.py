"""The playhead over a recorded session."""

import pytest

from emu_planner.console.record import Moment
from emu_planner.console.replay import Replay
from emu_planner.console.robot import Note
from tests.console.looks import look


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def session(*times_s: float) -> list[Moment]:
    notes = [Note(float(n), "Anna", f"decision {n}") for n in range(len(times_s))]
    return [
        Moment(t_s, look(10 * n, words=str(n), journal=tuple(notes[: n // 2 + 1])))
        for n, t_s in enumerate(times_s)
    ]


def words(replay: Replay) -> str:
    return replay.look().snapshot.words


def test_it_plays_at_the_pace_of_the_session():
    clock = Clock()
    replay = Replay(session(100.0, 100.5, 101.5), clock)
    clock.now_s = 9.0
    assert words(replay) == "0", "it waits to be played"
    replay.play()
    shown = []
    for clock.now_s in (9.4, 9.5, 10.4, 10.5, 99.0):
        shown.append(words(replay))
    assert shown == ["0", "1", "1", "2", "2"]
    assert replay.position_s == replay.length_s == 1.5
    replay.play()
    assert words(replay) == "0", "from the beginning again"


def test_pause_speed_and_seek():
    clock = Clock()
    replay = Replay(session(0.0, 1.0, 2.0, 3.0), clock)
    replay.set_speed(4.0)
    replay.play()
    clock.now_s = 0.5
    assert words(replay) == "2"
    replay.pause()
    clock.now_s = 50.0
    assert words(replay) == "2"
    replay.seek(-3.0)
    assert words(replay) == "0"
    replay.seek(1e9)
    assert words(replay) == "3"


def test_a_long_pause_is_cut_but_the_clock_tells_the_truth():
    replay = Replay(session(0.0, 3600.0), Clock())
    assert replay.length_s < 60.0
    replay.seek(replay.length_s)
    assert replay.clock == 3600.0


def test_from_decision_to_decision():
    replay = Replay(session(0.0, 1.0, 2.0, 3.0, 4.0), Clock())
    assert replay.decisions_s() == [2.0, 4.0]
    replay.next_decision(1)
    assert replay.position_s == 2.0
    replay.next_decision(1)
    replay.next_decision(1)
    assert replay.position_s == 4.0
    replay.next_decision(-1)
    assert replay.position_s == 2.0


def test_every_picture_of_it_is_found_by_its_key():
    moments = session(0.0, 1.0)
    replay = Replay(moments, Clock())
    wanted = moments[1].look.frames[0][1]
    assert replay.picture(wanted.key) == wanted
    assert replay.picture("nothing") is None


def test_a_session_without_a_moment():
    with pytest.raises(ValueError, match="without a moment"):
        Replay([])
