"""What the page says in words: states, phases, endings, times. Pure functions."""

import time

from emu_planner.console.robot import Ending, Note, Phase, Snapshot, StepState, StepView

STATES = {
    StepState.PENDING_REVIEW: "waits for your decision",
    StepState.APPROVED: "approved, about to start",
    StepState.ACTIVE: "the robot is doing it",
    StepState.SUCCEEDED: "done",
    StepState.FAILED: "failed",
    StepState.SKIPPED: "skipped",
    StepState.REJECTED: "rejected",
    StepState.EXPIRED: "taken back",
}
# one sign a state, so that nobody has to tell colours apart
SIGNS = {
    StepState.PENDING_REVIEW: "?",
    StepState.APPROVED: "\N{BLACK RIGHT-POINTING TRIANGLE}",
    StepState.ACTIVE: "\N{BLACK RIGHT-POINTING TRIANGLE}",
    StepState.SUCCEEDED: "\N{CHECK MARK}",
    StepState.FAILED: "!",
    StepState.SKIPPED: "\N{EN DASH}",
    StepState.REJECTED: "\N{MULTIPLICATION SIGN}",
    StepState.EXPIRED: "\N{EN DASH}",
}
PHASES = {
    Phase.CONNECTING: "looking",
    Phase.QUEUED: "waiting for the service",
    Phase.GENERATING_TEXT: "finding words",
    Phase.GENERATING_KEYFRAME: "imagining the picture",
    Phase.WAITING_REVIEW: "your decision",
    Phase.WAITING_OUTCOME: "the robot is doing it",
}
ENDINGS = {
    Ending.COMPLETE: "Plan complete",
    Ending.FAILED: "The plan failed",
    Ending.CANCELED: "The plan was stopped",
    Ending.PREEMPTED: "A newer plan took its place",
    Ending.HELD: "The plan was stopped by a hold",
    Ending.DEACTIVATED: "The planner was switched off",
    Ending.REVIEW_TIMEOUT: "Nobody decided in time",
    Ending.REVIEW_REJECTED: "The plan was rejected",
    Ending.OUTCOME_FAILED: "The robot could not go on",
}
# the same once the plan has ended
_AFTERWARDS = {
    StepState.PENDING_REVIEW: "nobody decided before the plan ended",
    StepState.APPROVED: "never started",
}
_DECISIONS = {
    "approve": "approved",
    "edit": "edited",
    "skip": "skipped",
    "regenerate": "made again",
    "reject": "rejected",
}


def heading(snapshot: Snapshot) -> str:
    """What is going on, above the words of the step."""
    if snapshot.ending is not None:
        return "End of the plan"
    if snapshot.phase is None:
        return "Beginning" if snapshot.plan_id else "No plan yet"
    queue = f", place {snapshot.queue_position + 1}" if snapshot.phase is Phase.QUEUED else ""
    pending = snapshot.pending
    sure = ""
    if pending is not None and pending.confidence is not None:
        sure = f" ({pending.confidence:.0%} sure)"
    return f"Step {snapshot.index + 1}: {PHASES[snapshot.phase]}{queue}{sure}"


def shown_step(snapshot: Snapshot) -> StepView | None:
    """The step that the large card is about: the one that waits or moves, else the last."""
    generating = (Phase.GENERATING_TEXT, Phase.GENERATING_KEYFRAME, Phase.QUEUED)
    if snapshot.ending is not None or snapshot.phase in generating:
        return None
    return next(
        (s for s in snapshot.steps if s.state in (StepState.PENDING_REVIEW, StepState.ACTIVE)),
        snapshot.steps[-1] if snapshot.steps else None,
    )


def main_words(snapshot: Snapshot) -> str:
    """The largest words on the page: the step's, else why there are none."""
    if snapshot.ending is not None:
        reason = f": {snapshot.message}" if snapshot.message else ""
        return f"{ENDINGS[snapshot.ending]}{reason}"
    if not snapshot.plan_id:
        return "Say what the robot shall do."
    if snapshot.phase in (Phase.GENERATING_TEXT, Phase.GENERATING_KEYFRAME):
        return snapshot.words.strip()
    step = shown_step(snapshot)
    if snapshot.phase in (Phase.WAITING_REVIEW, Phase.WAITING_OUTCOME) and step is not None:
        return step.words
    return snapshot.message


def step_meta(step: StepView, *, plan_ended: bool) -> str:
    """State of a step, who decided, and what the executor said."""
    words = STATES[step.state]
    if plan_ended:
        words = _AFTERWARDS.get(step.state, words)
    if step.state is StepState.EXPIRED and step.detail == "to be made again":
        words = ""
    by = f"{_DECISIONS[step.decision]} by {step.decided_by}" if step.decided_by else ""
    return ", ".join(part for part in (words, by, step.detail) if part)


def clock(at_s: float) -> str:
    """Time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def day(at_s: float) -> str:
    """Date and time of day."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))


def duration(seconds: float) -> str:
    """A length of time as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def journal_line(note: Note) -> str:
    """One line of the journal, without its time."""
    return f"{note.who}: {note.what}"
