"""One PlanTask goal from acceptance to result: plan, review, wait for outcomes, plan again.

run() works in a thread of its own and blocks there; review(), report() and end() come from other
threads. The first end() decides the result at once, whatever the planner is doing, and asks it to
stop. Knows the plan nouns and the cameras' feed; knows no ROS, no service and no model.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from emu_planner.goal.clock import ClockWatch
from emu_planner.goal.feed import CameraFeed, FreshFrames, Moment
from emu_planner.goal.patience import Patience
from emu_planner.goal.states import (
    Decision,
    Ending,
    Feedback,
    GoalLimits,
    GoalRequest,
    Listener,
    Phase,
    PlannedStep,
    PlanView,
    Result,
    Review,
    StaleEpochError,
    StepState,
    WrongStateError,
)
from emu_planner.goal.watch import StepWatch
from emu_planner.plan import (
    ErrorCode,
    FinishReason,
    KeyframeProgress,
    Observation,
    Outcome,
    PlanComplete,
    PlanError,
    Planner,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    TextDelta,
    Waiting,
)

_LONGEST_INSTRUCTION = 2000
# how often the node's clock is looked at while a step is on offer: a simulation's has a pace of its own, s
_CLOCK_LOOK_S = 0.05


class PlanGoal:
    """The logic of one goal.

    Args:
        next_epoch: gives a number above all that it gave before, also to other goals.
        now_s: the node's clock, s.
    """

    def __init__(
        self,
        planner: Planner,
        feed: CameraFeed,
        request: GoalRequest,
        *,
        limits: GoalLimits,
        listener: Listener,
        next_epoch: Callable[[], int],
        now_s: Callable[[], float],
    ) -> None:
        self.request = request
        self._planner, self._feed, self._limits = planner, feed, limits
        self._listener, self._next_epoch, self._now_s = listener, next_epoch, now_s
        self._clock = ClockWatch(now_s)
        self._changed = threading.Condition()
        self._stop = Stop()
        self._begun_s = time.monotonic()
        self._epoch = next_epoch()
        self._steps: dict[int, PlannedStep] = {}
        self._history: list[StepOutcome] = []
        self._after: Mapping[str, Moment] = {}
        self._offered: int | None = None
        self._reviewed = False
        self._made = 0  # whole steps so far, those made again included
        self._again = 0  # steps that a reviewer wanted made again
        self._seed: int | None = None
        self._stamp_s = 0.0
        self._pictures: tuple[tuple[str, float], ...] = ()
        # what the newest step was planned from, until it is watched; None where steps are not
        self._planned_from: Observation | None = None
        self._feedback = Feedback(Phase.CONNECTING, self._epoch, 0, "", 0.0, 0, 0.0)
        self._result: Result | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the goal has its result; run() may still be winding down."""
        return self._result is not None

    @property
    def epoch(self) -> int:
        """The plan's present revision."""
        return self._epoch

    def run(self) -> None:
        """Work until the goal ends; call once, in a thread of its own."""
        limit_s = self.request.time_limit_s
        message = f"the goal took longer than its time limit of {limit_s:g} s"
        timer = threading.Timer(limit_s, self.end, (Ending.FAILED, message), {"error": ErrorCode.TIMEOUT})
        timer.daemon = True
        timer.start()
        try:
            if self.request.closed_loop:
                self._run_closed_loop()
            else:
                limit = self.request.task.generation.max_subgoals
                self._finish(self._generate(limit, self._settle))
        except PlanError as error:
            self.end(Ending.FAILED, error.message, error=error.code)
        except Exception as error:
            # a defect must end the goal too, or its caller waits for ever; the traceback is logged
            self.end(Ending.FAILED, f"defect in the planner: {error!r}", error=ErrorCode.INTERNAL)
            raise
        finally:
            timer.cancel()
            # pictures are large, and the node keeps the goal
            self._planned_from = None

    def end(
        self, ending: Ending, message: str = "", *, error: ErrorCode | None = None, finish: str = ""
    ) -> None:
        """Give the goal its result, unless it has one, and stop the planner."""
        with self._changed:
            if self._result is not None:
                return
            self._withdraw()
            plan = replace(self.view(), ending=ending, finish=finish or _FINISH.get(ending, "error"))
            seconds = time.monotonic() - self._begun_s
            self._result = Result(ending, plan, seconds, message, error)
            self._listener.plan_changed(plan)
            self._listener.ended(self._result)
            self._changed.notify_all()
        self._stop.request()

    def view(self) -> PlanView:
        """The plan as it stands."""
        with self._changed:
            if self._result is not None:
                return self._result.plan
            steps = tuple(self._steps.values())
            return PlanView(
                self.request, self._epoch, steps, self._seed, self._stamp_s, pictures=self._pictures
            )

    def review(self, epoch: int, index: int, decision: Decision, text: str = "", reviewer: str = "") -> None:
        """Take a person's decision about the step that waits for it.

        Raises:
            StaleEpochError, WrongStateError: the plan is not as the reviewer saw it.
            ValueError: no such decision here, or EDIT without usable words.
        """
        with self._changed:
            made = self._expect(epoch, index, (StepState.PENDING_REVIEW,))
            match decision:
                case Decision.APPROVE:
                    self._put(replace(made, state=StepState.APPROVED))
                case Decision.EDIT:
                    if not 0 < len(text.strip()) <= _LONGEST_INSTRUCTION:
                        raise ValueError("EDIT needs the new words: 1 to 2000 characters")
                    self._put(self._edited(made, text.strip()))
                    self._listener.step_made(self.view(), self._steps[index])
                case Decision.SKIP:
                    self._put(replace(made, state=StepState.SKIPPED))
                case Decision.REJECT:
                    self._put(replace(made, state=StepState.REJECTED))
                case Decision.REGENERATE:
                    self._put(self._taken_back(made, text))
            self._reviewed = True
            if decision is Decision.REJECT:
                who = reviewer or "the reviewer"
                self.end(Ending.REVIEW_REJECTED, f"{who} rejected step {index}: {made.step.subgoal}")
            self._changed.notify_all()

    def report(self, epoch: int, index: int, outcome: Outcome, detail: str = "") -> None:
        """Take what an executor says about the step that it carries out.

        Raises:
            StaleEpochError, WrongStateError: the step is not the one on offer, or is over.
        """
        with self._changed:
            started = outcome is Outcome.STARTED
            awaited = (StepState.APPROVED,) if started else (StepState.APPROVED, StepState.ACTIVE)
            made = self._expect(epoch, index, awaited)
            if index != self._offered:
                raise WrongStateError(f"step {index} is not on offer to an executor")
            if not started:
                # the next plan needs pictures of what the robot did, not of what was before
                self._after = self._feed.moment()
            self._put(replace(made, state=_STATE_OF[outcome], detail=detail))
            self._listener.step_offered(self.view(), self._steps[index])
            self._changed.notify_all()

    def _run_closed_loop(self) -> None:
        limit, failures = self.request.task.generation.max_subgoals, 0
        while not self.has_ended:
            if limit and len(self._history) >= limit:
                self._finish(FinishReason.LENGTH)
                return
            made: list[int] = []
            before = self._again
            finish = self._generate(1, made.append)
            if not made:
                self._finish(finish)
                return
            self._settle(made[0])
            if self._again > before:
                continue
            state = self._await_outcome(made[0])
            outcome = _OUTCOME_OF.get(state)
            if outcome is not None:
                now = self._steps[made[0]]
                self._history.append(StepOutcome(now.step, outcome, now.detail))
            if state in (StepState.FAILED, StepState.EXPIRED):
                failures += 1
            elif state is StepState.SUCCEEDED:
                failures = 0
            if failures >= self._limits.max_failures:
                self.end(
                    Ending.OUTCOME_FAILED,
                    f"{failures} subgoals in a row failed, drifted or were never started; "
                    f"the last: {self._steps[made[0]].step.subgoal}",
                )

    def _generate(self, max_subgoals: int, take: Callable[[int], None]) -> FinishReason | None:
        """Ask the planner, again while a lost link may come back and no step of this call is whole."""
        patience = Patience(self._limits.reconnect_patience_s, self._rest)
        while True:
            before = self._made
            try:
                return self._ask(max_subgoals, take)
            except PlanError as error:
                if self._made > before or not patience.bears(error, self._listener.link_lost):
                    raise

    def _ask(self, max_subgoals: int, take: Callable[[int], None]) -> FinishReason | None:
        """One call of the planner; `take` gets each step's index. None: the goal ended meanwhile."""
        generation = replace(self.request.task.generation, max_subgoals=max_subgoals)
        if self._seed is not None:
            # one seed for the whole goal, so that its record is enough to make it again; a step that
            # is made again has another, as the same would give the same step
            generation = replace(generation, seed=(self._seed + self._again) % 2**64)
        task = replace(self.request.task, generation=generation)
        with self._changed:
            if self.has_ended:
                return None
            self._epoch = self._next_epoch()
            frames = FreshFrames(
                self._feed,
                self.request.cameras,
                max_age_s=self._limits.observation_max_age_s,
                after=self._after,
                stop=self._stop,
                patience_s=self._limits.observation_timeout_s,
                keeps_last=self.request.closed_loop and self._limits.progress_period_s > 0,
            )
        self._tell(Phase.CONNECTING, max(self._steps, default=-1) + 1)
        for event in self._planner.plan(task, frames, tuple(self._history), stop=self._stop):
            if self.has_ended:
                return None
            match event:
                case Waiting():
                    self._tell(Phase.QUEUED, self._feedback.index, queue=event.position)
                case PlanStarted():
                    self._start(event, frames)
                case TextDelta():
                    text = self._feedback.text if self._feedback.index == event.index else ""
                    self._tell(Phase.GENERATING_TEXT, event.index, text + event.text)
                case KeyframeProgress():
                    share = event.tokens_done / max(event.tokens_total, 1)
                    words = self._feedback.text
                    self._tell(Phase.GENERATING_KEYFRAME, event.index, words, share)
                case StepComplete():
                    self._add(event.step)
                    take(event.step.index)
                case PlanComplete():
                    return event.reason
        raise PlanError(ErrorCode.INTERNAL, "the planner's stream ended without PlanComplete")

    def _rest(self, seconds: float) -> bool:
        """Sleep; True when the goal ended meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self.has_ended, seconds)

    def _finish(self, finish: FinishReason | None) -> None:
        if finish is FinishReason.TIMEOUT:
            message = "the planner's time ran out between two steps"
            self.end(Ending.FAILED, message, error=ErrorCode.TIMEOUT, finish=finish.value)
        elif finish is FinishReason.INTERRUPTED:
            message = "the planner was interrupted at its side; try again"
            code = ErrorCode.SERVER_UNAVAILABLE
            self.end(Ending.FAILED, message, error=code, finish=finish.value)
        elif finish is not None:
            self.end(Ending.COMPLETE, finish=finish.value)

    def _start(self, started: PlanStarted, frames: FreshFrames) -> None:
        with self._changed:
            self._clock.jump_s()  # from now on a jump is one since the pictures were taken
            self._pictures = tuple(frames.taken.get(started.observation_seq, {}).items())
            self._planned_from = frames.last.get(started.observation_seq)
            self._stamp_s = started.observation_stamp_s
            if self._seed is None:
                self._seed = started.seed
            if not self.has_ended:
                self._listener.plan_changed(self.view())

    def _add(self, step: Step) -> None:
        with self._changed:
            if self.has_ended:
                return
            waits = self.request.review is Review.EACH or (
                self.request.review is Review.FIRST and not self._reviewed
            )
            state = StepState.PENDING_REVIEW if waits else StepState.APPROVED
            made = PlannedStep(step, self._epoch, state, self._stamp_s, self._now_s())
            self._steps[step.index] = made
            self._made += 1
            self._listener.step_made(self.view(), made)
            self._listener.plan_changed(self.view())

    def _settle(self, index: int) -> None:
        """Wait until the step is reviewed; ends the goal when nobody does so in time."""
        with self._changed:
            if self.has_ended or self._steps[index].state is not StepState.PENDING_REVIEW:
                return
            self._tell(Phase.WAITING_REVIEW, index, self._steps[index].step.subgoal, 1.0)
            if self._wait(index, (StepState.PENDING_REVIEW,), self._limits.review_timeout_s):
                return
            limit_s = self._limits.review_timeout_s
            self.end(Ending.REVIEW_TIMEOUT, f"nobody reviewed step {index} within {limit_s:g} s")

    def _await_outcome(self, index: int) -> StepState:
        """Offer an approved step to the executor and wait for what becomes of it."""
        with self._changed:
            if self.has_ended or self._steps[index].state is not StepState.APPROVED:
                return self._steps[index].state
            self._offered = index
            if not self._clock_went_back():
                until_s = self._now_s() + self._limits.subgoal_validity_s
                self._put(replace(self._steps[index], valid_until_s=until_s))
                self._listener.step_offered(self.view(), self._steps[index])
                self._tell(Phase.WAITING_OUTCOME, index, self._steps[index].step.subgoal, 1.0)
                self._await_start(index, until_s)
        self._watch_over(index)
        with self._changed:
            self._wait(index, (StepState.ACTIVE,), None)
            self._offered = None
            return self._steps[index].state

    def _await_start(self, index: int, until_s: float) -> None:
        """Wait until the step on offer is started; take it back when that is too late on the node's clock."""
        while not self._wait(index, (StepState.APPROVED,), _CLOCK_LOOK_S):
            if not self._clock_went_back() and self._now_s() > until_s:
                self._withdraw()

    def _clock_went_back(self) -> bool:
        """Take the step on offer back if so: valid_until means nothing then, and the world is another one."""
        jump_s = self._clock.jump_s()
        if jump_s:
            # forward too: no picture from before is fresh
            self._after = self._feed.moment()
        if jump_s < 0:
            self._withdraw(f"the clock went back by {-jump_s:.1f} s")
        return jump_s < 0

    def _watch_over(self, index: int) -> None:
        """Look at the step now and then while it is carried out; take it back when it drifts."""
        limits, made = self._limits, self._steps[index]
        if not limits.progress_period_s or made.state is not StepState.ACTIVE:
            return
        watch = StepWatch(self._feed, made, self._planned_from, limits.observation_max_age_s)
        self._planned_from = None  # pictures are large; the watch has what it needs
        while True:
            with self._changed:
                if self._wait(index, (StepState.ACTIVE,), limits.progress_period_s):
                    return
            # without the lock: whoever reports or ends shall not wait for it
            look = watch.look()
            with self._changed:
                if self.has_ended or self._steps[index].state is not StepState.ACTIVE:
                    return
                if look is None:
                    continue
                self._listener.step_watched(self.view(), self._steps[index], look)
                if limits.replan_on_drift and look.drifting >= limits.drift_patience:
                    self._after = self._feed.moment()
                    self._withdraw(f"drifted: {look.drifting} looks in a row show what it does not foresee")
                    return

    def _wait(self, index: int, states: tuple[StepState, ...], timeout_s: float | None) -> bool:
        """Wait until the goal ends or the step leaves these states; False: not in time."""
        return self._changed.wait_for(
            lambda: self.has_ended or self._steps[index].state not in states, timeout_s
        )

    def _withdraw(self, detail: str = "") -> None:
        """Take back the step on offer: a later epoch, so that a latched sample is superseded."""
        if self._offered is None:
            return
        offered = self._steps[self._offered]
        if offered.state in (StepState.APPROVED, StepState.ACTIVE):
            self._epoch = self._next_epoch()
            gone = replace(
                offered, state=StepState.EXPIRED, epoch=self._epoch, detail=detail or offered.detail
            )
            self._put(gone)
            self._listener.step_offered(self.view(), self._steps[self._offered])

    def _taken_back(self, made: PlannedStep, hint: str) -> PlannedStep:
        """The step, to be made again from a new picture and with another seed."""
        if not self.request.closed_loop:
            raise ValueError("REGENERATE needs a closed loop; SKIP or EDIT the step instead")
        if hint.strip():
            raise ValueError("REGENERATE takes no words, the planner has no place for them; EDIT the step")
        self._again += 1
        self._epoch = self._next_epoch()
        return replace(made, state=StepState.EXPIRED, epoch=self._epoch, detail="to be made again")

    def _edited(self, made: PlannedStep, text: str) -> PlannedStep:
        self._epoch = self._next_epoch()
        return replace(
            made,
            step=replace(made.step, subgoal=text),
            original=made.original or made.step.subgoal,
            state=StepState.APPROVED,
            epoch=self._epoch,
        )

    def _expect(self, epoch: int, index: int, states: tuple[StepState, ...]) -> PlannedStep:
        made = self._steps.get(index)
        if self.has_ended:
            raise WrongStateError("the plan has ended")
        if made is None:
            raise WrongStateError(f"there is no step {index} yet")
        if epoch != made.epoch:
            raise StaleEpochError(f"epoch {epoch} is not {made.epoch}, the step's; look again")
        if made.state not in states:
            raise WrongStateError(
                f"step {index} is {made.state.value}; expected {' or '.join(s.value for s in states)}"
            )
        return made

    def _put(self, made: PlannedStep) -> None:
        self._steps[made.step.index] = made
        self._listener.plan_changed(self.view())

    def _tell(self, phase: Phase, index: int, text: str = "", share: float = 0.0, queue: int = 0) -> None:
        with self._changed:
            if self.has_ended:
                return
            elapsed_s = time.monotonic() - self._begun_s
            self._feedback = Feedback(phase, self._epoch, index, text, share, queue, elapsed_s)
            self._listener.progressed(self.view(), self._feedback)


_STATE_OF = {
    Outcome.STARTED: StepState.ACTIVE,
    Outcome.SUCCEEDED: StepState.SUCCEEDED,
    Outcome.FAILED: StepState.FAILED,
}
_OUTCOME_OF = {
    StepState.SUCCEEDED: Outcome.SUCCEEDED,
    StepState.FAILED: Outcome.FAILED,
    StepState.SKIPPED: Outcome.SKIPPED,
}
_FINISH = {
    Ending.CANCELED: FinishReason.INTERRUPTED.value,
    Ending.PREEMPTED: FinishReason.INTERRUPTED.value,
    Ending.HELD: FinishReason.INTERRUPTED.value,
    Ending.DEACTIVATED: FinishReason.INTERRUPTED.value,
    Ending.REVIEW_REJECTED: FinishReason.INTERRUPTED.value,
}
