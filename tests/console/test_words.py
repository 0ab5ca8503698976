"""What the page says: every state has words and a sign of its own, and the end is told from the middle."""

from dataclasses import replace

import pytest

from emu_planner.console import words
from emu_planner.console.robot import Decision, Ending, Phase, Snapshot, StepState, said_of
from tests.console.looks import ended, look, step


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (words.STATES, StepState),
        (words.SIGNS, StepState),
        (words.PHASES, Phase),
        (words.ENDINGS, Ending),
    ],
)
def test_every_value_has_words(table, kind):
    assert set(table) == set(kind)
    assert all(table.values())


@pytest.mark.parametrize("decision", list(Decision))
def test_every_decision_has_words(decision: Decision):
    assert "step 3" in said_of(decision, 2, "")
    decided = step(state=StepState.SKIPPED, decided_by="Anna", decision=decision.value)
    assert words.step_meta(decided, plan_ended=False).endswith("by Anna")


def test_a_step_that_waits_is_shown_until_the_plan_has_ended():
    waiting = look().snapshot
    assert words.heading(waiting) == "Step 1: your decision"
    assert words.main_words(waiting) == "pick up the cup"
    assert words.shown_step(waiting) == waiting.pending == waiting.steps[0]
    over = replace(waiting, phase=None, ending=Ending.HELD, message="held by Ben")
    assert over.pending is None
    assert words.shown_step(over) is None
    assert words.main_words(over) == "The plan was stopped by a hold: held by Ben"
    assert "nobody decided" in words.step_meta(over.steps[0], plan_ended=True)


def test_words_that_come_are_shown_and_not_the_step_before():
    done = ended().snapshot.steps
    coming = look(steps=done, phase=Phase.GENERATING_TEXT, words="place the", index=1).snapshot
    assert words.main_words(coming) == "place the"
    assert words.shown_step(coming) is None
    assert words.heading(coming) == "Step 2: finding words"
    queued = replace(coming, phase=Phase.QUEUED, queue_position=2, words="")
    assert words.heading(queued) == "Step 2: waiting for the service, place 3"


def test_a_planner_that_is_away_is_told_where_the_words_would_be():
    away = look(steps=(), phase=Phase.CONNECTING, message="the planner is away").snapshot
    assert words.main_words(away) == "the planner is away"


def test_before_the_first_plan():
    nothing = Snapshot("ROBOT", "a planner")
    assert words.heading(nothing) == "No plan yet"
    assert words.main_words(nothing)


@pytest.mark.parametrize(("seconds", "said"), [(0.0, "0:00"), (59.9, "0:59"), (3600.0, "60:00")])
def test_lengths_of_time(seconds: float, said: str):
    assert words.duration(seconds) == said
