"""Which subgoals an executor may carry out. Knows messages; knows no node and no clock.

A planner counts its epochs up, also from plan to plan. What has a lower epoch than one already seen
is of the past, and so is what a later message took back.
"""

from dataclasses import dataclass

from emu_planner_msgs.action import ExecuteSubgoal
from emu_planner_msgs.msg import Subgoal

Key = tuple[bytes, int, int]  # plan, epoch, index


@dataclass(frozen=True)
class Refusal:
    """Why a subgoal is not carried out, or not to its end."""

    # one of ExecuteSubgoal.Result
    code: int
    words: str


def key_of(subgoal: Subgoal) -> Key:
    """What tells one command from another."""
    return bytes(subgoal.plan_id.uuid), subgoal.epoch, subgoal.index


class SubgoalRules:
    """The rules of one executor, whichever way its subgoals come."""

    def __init__(self) -> None:
        self._epoch = 0
        self._obeyed: Key | None = None
        # why there is a hold; empty: none
        self.hold_reason = ""

    def see(self, subgoal: Subgoal) -> None:
        """Note what the planner says about any subgoal, in whatever state."""
        self._epoch = max(self._epoch, subgoal.epoch)

    def judge(self, subgoal: Subgoal, now_s: float) -> Refusal | None:
        """None: carry it out, now and once. Otherwise why not.

        Args:
            now_s: the clock that valid_until is of.
        """
        result = ExecuteSubgoal.Result
        if self.hold_reason:
            return Refusal(result.HELD, f"there is a hold: {self.hold_reason}")
        if subgoal.epoch < self._epoch:
            return Refusal(result.STALE_EPOCH, f"epoch {subgoal.epoch} is older than {self._epoch}")
        if subgoal.state != Subgoal.STATE_APPROVED:
            return Refusal(
                result.UNKNOWN, f"its state is {subgoal.state}, not {Subgoal.STATE_APPROVED} APPROVED"
            )
        valid_until_s = subgoal.valid_until.sec + subgoal.valid_until.nanosec / 1e9
        if valid_until_s and now_s > valid_until_s:
            return Refusal(result.EXPIRED, f"it was valid until {now_s - valid_until_s:.1f} s ago")
        if key_of(subgoal) == self._obeyed:
            return Refusal(result.UNKNOWN, "it was taken already")
        self._obeyed = key_of(subgoal)
        return None

    def interruption(self, subgoal: Subgoal) -> Refusal | None:
        """Why a subgoal that was begun has to stop; None: it may go on."""
        if self.hold_reason:
            return Refusal(ExecuteSubgoal.Result.HELD, f"there is a hold: {self.hold_reason}")
        if self._epoch > subgoal.epoch:
            return Refusal(
                ExecuteSubgoal.Result.STALE_EPOCH,
                f"the planner is at epoch {self._epoch} and took back epoch {subgoal.epoch}",
            )
        return None

    def forget(self) -> None:
        """The planner went away; a new one counts from the beginning, and says if it is held."""
        self._epoch, self._obeyed, self.hold_reason = 0, None, ""
