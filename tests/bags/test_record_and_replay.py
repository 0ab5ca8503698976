"""A recorded session holds what happened, and planned again it gives the same plan: real DDS, real gRPC."""

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("emu_planner_msgs")
pytest.importorskip("rosbags", reason="see requirements/export.txt")
pytest.importorskip("mcap", reason="see requirements/dev.txt")

from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Plan
from emu_planner_msgs.srv import ReportOutcome, ReviewSubgoal
from mcap.reader import make_reader

from emu_planner.bags.calls import calls_of
from emu_planner.bags.definitions import define
from emu_planner.bags.read import BagError, mend, open_bag
from emu_planner.bags.replay import replay
from emu_planner.bags.rerun_view import view
from emu_planner.bags.session import read_frames, read_session
from emu_planner.bags.topics import planner_topics
from emu_planner.goal.states import StepState
from emu_planner.plan import FinishReason, Outcome
from emu_planner.ros.convert import STEP_STATES
from emu_planner.service.server import running_service
from tests.bags.bagrig import command, only_bag, session_of, start_recorder
from tests.fakes import FakePlanner
from tests.ros.rig import LATCHED, OK, Rig, free_port, next_in, running_rig, stop_process
from tests.ros.scripted import ScriptedPlanner

pytestmark = pytest.mark.ros
# what lifecycle nodes and action servers publish by themselves
OF_ROS = ("transition_event", "_action/feedback", "_action/status")
APPROVED, PENDING = STEP_STATES[StepState.APPROVED], STEP_STATES[StepState.PENDING_REVIEW]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, str, dict[str, str]]]:
    """A whole bag, one whose recorder was killed, the service that planned, and what the node offered."""
    folder, cut = tmp_path_factory.mktemp("bags"), tmp_path_factory.mktemp("cut")
    with running_rig() as rig:
        port = free_port()
        rig.start_camera()
        rig.start_service(port)
        rig.start_node(server=f"127.0.0.1:{port}")
        recorder = start_recorder(rig, folder)
        killed = start_recorder(rig, cut, "--rate", "0")
        assert rig.goal("stack the blocks", seed=5).result()[0] == OK
        closed_loop_with_people(rig)
        offered = published_by_the_planner(rig)
        # a flush of the recorder that is killed
        time.sleep(1.0)
        stop_process(killed, signal.SIGKILL)
        stop_process(recorder, signal.SIGINT)
        assert recorder.returncode == 0
        yield only_bag(folder), only_bag(cut), f"127.0.0.1:{port}", offered


def published_by_the_planner(rig: Rig) -> dict[str, str]:
    """Each topic of the planner node, and the hash of its type as it announces it."""
    topics = [name for name, _ in rig.node.get_topic_names_and_types() if name.startswith("/planner/")]
    ends = {name: rig.node.get_publishers_info_by_topic(name) for name in topics}
    return {name: str(end[0].topic_type_hash) for name, end in ends.items() if end}


def closed_loop_with_people(rig: Rig) -> None:
    """Step 0 is made again, then edited and done; step 1 is approved and fails; step 2 is skipped."""
    active = rig.listen_active()
    plans = rig.listen(Plan, "planner/plan", LATCHED)
    run = rig.goal(
        "tidy up the table", review_mode=PlanTask.Goal.REVIEW_EACH, closed_loop=True, max_subgoals=3
    )

    def to_review(index: int, epoch_above: int = 0):
        plan = next_in(
            plans,
            lambda p: (
                p.plan_id == run.plan_id
                and any(s.index == index and s.state == PENDING and s.epoch > epoch_above for s in p.subgoals)
            ),
        )
        return next(s for s in plan.subgoals if s.index == index)

    def approved(index: int):
        return next_in(active, lambda s: s.plan_id == run.plan_id and (s.index, s.state) == (index, APPROVED))

    review, report = ReviewSubgoal.Request, ReportOutcome.Request
    first = to_review(0)
    assert rig.review(first, review.REGENERATE, reviewer="ann").success
    again = to_review(0, first.epoch)
    assert rig.review(again, review.EDIT, "lift the red cup", reviewer="ann").success
    assert rig.report(approved(0), report.STARTED).success
    assert rig.report(approved_now(rig, active, 0), report.SUCCEEDED, "done").success
    assert rig.review(to_review(1), review.APPROVE, reviewer="bob").success
    assert rig.report(approved(1), report.FAILED, "it slipped").success
    assert rig.review(to_review(2), review.SKIP).success
    assert run.result()[1].plan.finish_reason == "length"


def approved_now(rig: Rig, active, index: int):
    return next_in(active, lambda s: s.index == index and s.state == STEP_STATES[StepState.ACTIVE])


def test_the_bag_tells_what_people_and_executors_did(recorded):
    goal = session_of(recorded[0]).goals[-1]
    assert goal.goal.instruction == "tidy up the table"
    assert [(r.request.reviewer, r.request.decision, r.response.success) for r in goal.reviews] == [
        ("ann", ReviewSubgoal.Request.REGENERATE, True),
        ("ann", ReviewSubgoal.Request.EDIT, True),
        ("bob", ReviewSubgoal.Request.APPROVE, True),
        ("", ReviewSubgoal.Request.SKIP, True),
    ]
    assert [o.request.detail for o in goal.outcomes] == ["", "done", "it slipped"]
    assert goal.result.plan.finish_reason == "length"


def test_calls_hold_the_history_that_the_planner_was_given(recorded):
    session = session_of(recorded[0])
    first, again, second, third = calls_of(session, session.goals[-1])
    assert first.history == again.history == ()
    assert again.task.generation.seed == first.task.generation.seed + 1
    assert [(p.step.subgoal, p.outcome, p.detail) for p in second.history] == [
        ("lift the red cup", Outcome.SUCCEEDED, "done")
    ]
    assert second.history[0].step.keyframe == again.steps[0].keyframe
    assert third.history[1].outcome is Outcome.FAILED
    assert all(call.steps[0].keyframe is not None for call in (first, again, second, third))


def test_pictures_that_plans_began_from_are_there(recorded):
    with open_bag(recorded[0]) as bag:
        session = read_session(bag)
        params = session.parameters(0)
        wanted = [p for goal in session.goals for call in calls_of(session, goal) for p in call.pictures]
        frames = read_frames(bag, session, params, wanted)
    assert set(frames) == set(wanted)


def open_bag_mended(path: Path):
    out = path.with_name("whole")
    if not out.exists():
        mend(path, out)
    return open_bag(out)


def test_an_open_loop_is_one_call(recorded):
    session = session_of(recorded[0])
    (call,) = calls_of(session, session.goals[0])
    assert (len(call.steps), call.finish, call.task.generation.seed) == (3, FinishReason.STOP, 5)


def test_replayed_by_the_service_every_plan_is_the_same(recorded):
    done = command("replay", str(recorded[0]), "--server", recorded[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the same") == 2, done.stdout
    assert "4 steps in 4 calls, 'tidy up the table'" in done.stdout


def test_a_killed_recorder_leaves_all_but_its_last_chunk(recorded):
    cut = recorded[1]
    assert not (cut / "metadata.yaml").exists()
    with pytest.raises(BagError, match="bag mend"), open_bag(cut):
        pass
    with open_bag_mended(cut) as bag:
        session = read_session(bag)
    whole = session_of(recorded[0])
    assert [g.plan_id for g in session.goals] == [g.plan_id for g in whole.goals]
    assert len(session.goals[-1].reviews) == 4
    done = command("replay", str(cut.with_name("whole")), "--server", recorded[2])
    assert done.returncode == 0, done.stdout + done.stderr


def test_show_tells_the_session_line_by_line(recorded):
    shown = command("show", str(recorded[0])).stdout
    for words in (
        "stack the blocks",
        "0: regenerate, by ann",
        "1: failed it slipped",
        "2: skip, by somebody",
    ):
        assert words in shown
    assert "length" in shown


def test_the_list_of_topics_is_what_the_node_publishes(recorded):
    ours = {f"/{t.name}": define(t.kind).digest for t in planner_topics() if not t.name.startswith("/")}
    assert ours == {name: digest for name, digest in recorded[3].items() if not name.endswith(OF_ROS)}


def test_another_planner_is_told_apart(recorded):
    with running_service(lambda: FakePlanner(steps=2, frame_timeout_s=5.0)) as target:
        done = command("replay", str(recorded[0]), "--server", target)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "'stack the blocks': first differs at step 2, steps: recorded 3 steps, now 2 steps" in done.stdout
    # one step a call: the fake's number of steps is no difference there
    assert "'tidy up the table': the same" in done.stdout


def test_a_changed_picture_is_a_changed_plan(recorded):
    with open_bag(recorded[0]) as bag:
        session = read_session(bag)
        (call,) = calls_of(session, session.goals[0])
        frames = read_frames(bag, session, session.parameters(0), call.pictures)
    assert list(replay(ScriptedPlanner(), [call], frames)) == [[]]
    changed = {key: replace(frame, rgb=frame.rgb ^ np.uint8(1)) for key, frame in frames.items()}
    (found,) = replay(ScriptedPlanner(), [call], changed)
    assert [(d.step, d.what) for d in found[:2]] == [(0, "words"), (0, "keyframe")]


def test_a_service_that_is_not_there_is_status_3(recorded):
    done = command("replay", str(recorded[0]), "--server", f"127.0.0.1:{free_port()}")
    assert done.returncode == 3
    assert "no planner service" in done.stderr


def test_the_bag_can_be_written_for_rerun(recorded, tmp_path):
    pytest.importorskip("rerun", reason="needs rerun-sdk")
    file = tmp_path / "session.rrd"
    assert command("show", str(recorded[0]), "--rerun", str(file)).returncode == 0
    assert file.stat().st_size > 10_000


def test_without_rerun_the_remedy_is_named(recorded, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with open_bag(recorded[0]) as bag, pytest.raises(ValueError, match="pip install rerun-sdk"):
        view(bag, read_session(bag), "x.rrd")


def test_another_library_reads_the_file_with_its_definitions(recorded):
    (file,) = recorded[0].glob("*.mcap")
    with open(file, "rb") as stream:
        reader = make_reader(stream)
        profile, summary = reader.get_header().profile, reader.get_summary()
        count = sum(1 for _ in reader.iter_messages())
    assert summary.statistics.message_count == count
    assert profile == "ros2"
    schemas = {schema.name: schema for schema in summary.schemas.values()}
    assert {schema.encoding for schema in schemas.values()} == {"ros2msg"}
    # constants, so that a viewer shows a state by its name, and the types that it is made of
    plan = schemas["emu_planner_msgs/msg/Plan"].data.decode()
    assert "uint8 STATE_COMPLETE=2" in plan
    assert "MSG: emu_planner_msgs/Subgoal\n" in plan
    latched = [
        c.metadata["offered_qos_profiles"] for c in summary.channels.values() if c.topic == "/planner/plan"
    ]
    assert "transient_local" in latched[0]
