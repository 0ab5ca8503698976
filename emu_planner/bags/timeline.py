"""A session in words: what was asked, planned, decided and done, in order of time. Knows no viewer."""

from dataclasses import dataclass

from emu_planner.bags.session import RecordedGoal, Session
from emu_planner.ros.convert import DECISIONS, OUTCOMES, PLAN_STATES

_RUNNING = PLAN_STATES[None]


@dataclass(frozen=True)
class Entry:
    """One line. Time of reception in ns."""

    stamp_ns: int
    # "goal", "step", "review", "outcome", "end" or "hold"
    what: str
    words: str


def lines_of(session: Session) -> list[Entry]:
    """Everything in order of time."""
    entries = [entry for goal in session.goals for entry in _of_goal(goal)]
    for name, asked in session.holds:
        done = "done" if asked.response is not None and asked.response.success else "refused"
        entries.append(Entry(asked.stamp_ns, "hold", f"{name.partition('/')[0]}: {done}"))
    return sorted(entries, key=lambda entry: entry.stamp_ns)


def _of_goal(goal: RecordedGoal) -> list[Entry]:
    entries = []
    if goal.goal is not None:
        entries.append(Entry(goal.stamp_ns, "goal", goal.goal.instruction))
    elif goal.plans:
        entries.append(Entry(goal.stamp_ns, "goal", f"{goal.plans[0][1].instruction} (asked before)"))
    seen: set[tuple[int, int, int]] = set()
    ended = False
    for stamp_ns, plan in goal.plans:
        for subgoal in plan.subgoals:
            key = (subgoal.index, subgoal.generated_at.sec, subgoal.generated_at.nanosec)
            if key not in seen:
                seen.add(key)
                words = subgoal.original_instruction or subgoal.instruction
                entries.append(Entry(stamp_ns, "step", f"{subgoal.index}: {words}"))
        if plan.state != _RUNNING and not ended:
            ended = True
            message = goal.result.error_msg if goal.result is not None else ""
            entries.append(Entry(stamp_ns, "end", f"{plan.finish_reason} {message}".strip()))
    for asked in goal.reviews:
        request, decision = asked.request, DECISIONS.get(asked.request.decision)
        said = f"{decision.value if decision else request.decision} {request.instruction}".strip()
        who = request.reviewer or "somebody"
        words = f"{request.index}: {said}, by {who}{_refused(asked.response)}"
        entries.append(Entry(asked.stamp_ns, "review", words))
    for asked in goal.outcomes:
        request, outcome = asked.request, OUTCOMES.get(asked.request.outcome)
        said = f"{outcome.value if outcome else request.outcome} {request.detail}".strip()
        words = f"{request.index}: {said}{_refused(asked.response)}"
        entries.append(Entry(asked.stamp_ns, "outcome", words))
    return entries


def _refused(response: object) -> str:
    if response is None:
        return " (no answer in the bag)"
    return "" if getattr(response, "success", False) else f" (refused: {getattr(response, 'error_msg', '')})"
