"""What is recorded is what was shown, and whatever ends the process leaves it readable."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emu_planner.console.hub import Look
from emu_planner.console.record import (
    FILE,
    RecordingError,
    SessionRecorder,
    list_sessions,
    read_session,
)
from emu_planner.console.robot import Ending, Snapshot
from tests.console.looks import ended, look

ROOT = Path(__file__).parents[2]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def record(root: Path, *looks: Look) -> Path:
    recorder = SessionRecorder(root, Clock())
    for one in looks:
        recorder.keep(one)
    recorder.close()
    return list_sessions(root)[0].folder


def test_what_comes_back_is_what_was_shown(tmp_path: Path):
    shown = [look(10), look(20, share=0.5, words="pick"), ended(30)]
    moments = read_session(record(tmp_path, *shown))
    assert [m.look.snapshot for m in moments] == [one.snapshot for one in shown]
    assert [m.look.frames for m in moments] == [one.frames for one in shown]
    assert [m.t_s for m in moments] == [1_000_001.0, 1_000_002.0, 1_000_003.0]


def test_a_picture_is_stored_once_and_named_by_its_bytes(tmp_path: Path):
    folder = record(tmp_path, look(10), look(10), look(20), ended(10))
    names = sorted(path.name for path in (folder / "pictures").iterdir())
    shown = {p.key for one in (look(10), look(20)) for _, p in one.frames}
    shown |= {p.key for s in look().snapshot.steps for _, p in (*s.before, *s.keyframe)}
    assert {name.partition(".")[0] for name in names} == shown
    assert len(names) == len(shown)


def test_nothing_is_recorded_before_the_first_plan_and_each_plan_has_its_folder(tmp_path: Path):
    recorder = SessionRecorder(tmp_path, Clock())
    recorder.keep(Look(Snapshot("ROBOT", "a planner"), ()))
    assert not list(tmp_path.iterdir())
    recorder.keep(look())
    recorder.keep(look(plan_id="0" * 32, task="another"))
    recorder.close()
    assert [s.task for s in list_sessions(tmp_path)] == ["another", "tidy up"]


def test_pictures_of_an_idle_robot_do_not_pile_up_but_a_hold_is_kept(tmp_path: Path):
    over = ended(10)
    idle = [Look(over.snapshot, look(level).frames) for level in range(20, 120, 10)]
    held = look(90, ending=Ending.COMPLETE, hold="held by Ben", held_by="Ben")
    moments = read_session(record(tmp_path, look(), over, *idle, held))
    assert len(moments) == 2 + 3 + 1, "three seconds of pictures after the end"
    assert [m.look.frames for m in moments[2:5]] == [one.frames for one in idle[:3]]
    assert moments[4].look.snapshot == over.snapshot
    assert moments[-1].look.snapshot.held_by == "Ben"


def test_a_torn_last_line_is_left_out(tmp_path: Path):
    folder = record(tmp_path, look(), ended())
    whole = (folder / FILE).read_bytes()
    for cut in range(1, 60, 7):
        (folder / FILE).write_bytes(whole[:-cut])
        assert len(read_session(folder)) == 1
        assert list_sessions(tmp_path)[0].ending is None


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda lines: [b'{"format": 99}', *lines[1:]], "format"),
        (lambda lines: [lines[0], b"{", *lines[1:]], "line 2"),
        (lambda lines: [lines[0], lines[1].replace(b".jpg", b".gif"), *lines[2:]], "line 2"),
        (lambda lines: [lines[0], lines[1].replace(b'"front","', b'"front","../'), *lines[2:]], "line 2"),
        (lambda lines: [lines[0], lines[1].replace(b"pending_review", b"asleep"), *lines[2:]], "line 2"),
        (lambda lines: lines[:1], "nothing"),
    ],
)
def test_what_is_damaged_is_refused_with_its_place(tmp_path: Path, damage, complaint: str):
    folder = record(tmp_path, look(), ended())
    lines = (folder / FILE).read_bytes().splitlines()
    (folder / FILE).write_bytes(b"\n".join(damage(lines)) + b"\n")
    with pytest.raises(RecordingError, match=complaint):
        read_session(folder)


def test_a_file_that_is_no_session_is_refused(tmp_path: Path):
    with pytest.raises(RecordingError, match="cannot read"):
        read_session(tmp_path / "nothing.jsonl")
    assert list_sessions(tmp_path / "nowhere") == []


def test_a_kill_in_the_middle_of_writing_loses_no_whole_line(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path\n"
        "from emu_planner.console.record import SessionRecorder\n"
        "from tests.console.looks import look\n"
        "recorder = SessionRecorder(Path(sys.argv[1]))\n"
        "number = 0\n"
        "while True:\n"
        "    number += 1\n"
        "    recorder.keep(look(number % 250, words=str(number)))\n"
        "    print(number, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    for _ in range(40):
        said = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    said = max([said, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
    process.wait(20)
    moments = read_session(list_sessions(tmp_path)[0].folder)
    assert [int(m.look.snapshot.words) for m in moments[:said]] == list(range(1, said + 1))


def test_the_history_finds_the_end_of_a_long_session(tmp_path: Path):
    shown = look()
    many = [Look(shown.snapshot, look(level % 250).frames) for level in range(1500)]
    folder = record(tmp_path, shown, *many)
    assert (folder / FILE).stat().st_size > 1 << 17, "longer than what is read at first"
    (session,) = list_sessions(tmp_path)
    assert (session.task, session.steps, session.seconds) == ("tidy up", 1, 1500.0)


def test_the_lines_are_plain_json(tmp_path: Path):
    folder = record(tmp_path, ended())
    head, line = map(json.loads, (folder / FILE).read_text().splitlines())
    assert head["format"] == 1
    assert line["snapshot"]["steps"][0]["state"] == "succeeded"
    assert line["snapshot"]["ending"] == "complete"
