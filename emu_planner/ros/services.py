"""The node's services as functions: a request, what the node knows, and the answer.

Knows no topic and keeps nothing.
"""

from emu_planner_msgs.srv import GetPlan, GetServerInfo, ReportOutcome, ReviewSubgoal

import emu_planner
from emu_planner.goal.goal import PlanGoal
from emu_planner.goal.states import StaleEpochError, WrongStateError
from emu_planner.plan import PlanError, Planner
from emu_planner.ros import convert
from emu_planner.ros.outputs import Outputs
from emu_planner.wire.client import RemotePlanner

_NO_PLAN = "no plan with that id is in work"


def review(
    goal: PlanGoal | None, request: ReviewSubgoal.Request, response: ReviewSubgoal.Response
) -> ReviewSubgoal.Response:
    """A person's decision about a step, if it fits the plan as it stands."""
    decision = convert.DECISIONS.get(request.decision)
    response.error_code = ReviewSubgoal.Response.NONE
    if goal is None:
        response.error_code, response.error_msg = ReviewSubgoal.Response.UNKNOWN_PLAN, _NO_PLAN
        return response
    try:
        if decision is None:
            raise ValueError(f"decision is {request.decision}; expected 1 to 5")
        goal.review(request.epoch, request.index, decision, request.instruction, request.reviewer)
    except StaleEpochError as error:
        response.error_code, response.error_msg = response.STALE_EPOCH, str(error)
    except WrongStateError as error:
        response.error_code, response.error_msg = response.WRONG_STATE, str(error)
    except ValueError as error:
        response.error_code, response.error_msg = response.INVALID, str(error)
    response.success = response.error_code == ReviewSubgoal.Response.NONE
    response.epoch = goal.epoch
    return response


def report(
    goal: PlanGoal | None, request: ReportOutcome.Request, response: ReportOutcome.Response
) -> ReportOutcome.Response:
    """What an executor says of a step, if it fits the plan as it stands."""
    outcome = convert.OUTCOMES.get(request.outcome)
    if goal is None:
        response.error_msg = _NO_PLAN
        return response
    response.epoch = goal.epoch
    if outcome is None:
        response.error_msg = f"outcome is {request.outcome}; expected 1 to 3"
        return response
    try:
        goal.report(request.epoch, request.index, outcome, request.detail)
    except (StaleEpochError, WrongStateError) as error:
        response.error_msg = str(error)
    response.success = not response.error_msg
    return response


def tell_plan(
    goal: PlanGoal | None, out: Outputs, request: GetPlan.Request, response: GetPlan.Response
) -> GetPlan.Response:
    """The plan as it stands, with its pictures if they are asked for."""
    if goal is None:
        return response
    view = goal.view()
    response.success = True
    response.plan = convert.plan_to_msg(view, out.frame_ids, out.model)
    if request.include_keyframes:
        response.keyframes = [
            convert.keyframe_to_msg(view, made, out.infos, out.frame_ids)
            for made in view.steps
            if made.step.keyframe is not None
        ]
    return response


def tell_server(planner: Planner, response: GetServerInfo.Response) -> GetServerInfo.Response:
    """What is at the other end of the wire; asks it, and waits for its answer."""
    response.node_version = emu_planner.__version__
    if not isinstance(planner, RemotePlanner):
        response.error_msg = f"this node plans by itself, with a {type(planner).__name__}"
        return response
    response.server = planner.target
    try:
        info = planner.server_info()
    except PlanError as error:
        response.error_msg = error.message
        return response
    response.success = True
    response.server_version, response.wire_version = info.version, f"1.{info.wire_minor}"
    response.model, response.model_version = info.model, info.model_version
    response.model_ready = info.state == "running"
    response.capabilities = list(info.capabilities)
    return response
