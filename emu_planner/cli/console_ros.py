"""A robot on a ROS graph, as the operator's page knows robots: topics in, services and an action out.

The only module of the page's side that knows rclpy; it stands among the composition roots because it
needs two rooms that do not see each other, ros/ for the messages and console/ for the nouns. The
executor has a thread of its own; commands come from others and wait for an answer, never for long.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import rclpy
from action_msgs.srv import CancelGoal
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Keyframe, Plan, PlannerStatus, PlanProgress, Subgoal
from emu_planner_msgs.srv import GetPlan, ReviewSubgoal
from rclpy.action import ActionClient
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from emu_planner.console.robot import (
    Note,
    Picture,
    Refused,
    Snapshot,
    StepView,
    Views,
    encode_jpeg,
    said_of,
    views_of_keyframe,
)
from emu_planner.goal.states import Decision, Ending, StepState
from emu_planner.plan import Keyframe as PlanKeyframe
from emu_planner.ros import convert
from emu_planner.ros.outputs import ALL, LATCHED, NEWEST
from emu_planner.ros.spinning import where_it_spins

# how long a service may take to answer, s
_ANSWER_S = 5.0
# a planner node that said nothing, or a camera that showed nothing, for longer is lost, s
_SILENCE_S = 3.0
# pictures kept of each camera, to find the one that a step was planned from, and their least distance, s
_KEPT_PICTURES, _KEPT_PERIOD_S = 40, 0.1
# a picture farther from a stamp is another one, s
_NEAR_S = 0.25
_KEPT_OBSERVATIONS = 100
_LONGEST_JOURNAL = 200

_STATES = {number: state for state, number in convert.STEP_STATES.items()}
_PHASES = {number: phase for phase, number in convert.PHASES.items()}
_DECISIONS = {decision: number for number, decision in convert.DECISIONS.items()}
_ENDINGS = {
    Plan.STATE_COMPLETE: Ending.COMPLETE,
    Plan.STATE_HELD: Ending.HELD,
    Plan.STATE_CANCELED: Ending.CANCELED,
    Plan.STATE_FAILED: Ending.FAILED,
}
_LINKS = {
    PlannerStatus.LINK_DISCONNECTED: "not asked yet, or disconnected",
    PlannerStatus.LINK_CONNECTING: "connecting",
    PlannerStatus.LINK_MODEL_LOADING: "loading its model",
    PlannerStatus.LINK_READY: "ready",
    PlannerStatus.LINK_DEGRADED: "late",
}


class RosRobot:
    """A Robot; a context manager. The graph is that of ROS_DOMAIN_ID.

    Args:
        namespace: of the planner node and the cameras' topics; "/" for none.
        cameras: names of the cameras, in the order in which they are shown.
    """

    def __init__(self, namespace: str, cameras: tuple[str, ...]) -> None:
        self._cameras = cameras
        self._lock = threading.RLock()  # guards what follows
        self._snapshot = Snapshot(f"ROBOT {namespace}", "plans: the planner node")
        self._pictures: dict[str, deque[_Shot]] = {name: deque(maxlen=_KEPT_PICTURES) for name in cameras}
        self._newest: dict[str, _Shot] = {}
        self._keyframes: dict[tuple[bytes, int, int], Views] = {}
        # what the cameras showed at the stamp of an observation that was planned from
        self._observed: dict[float, Views] = {}
        self._decided: dict[tuple[bytes, int, int], tuple[str, str]] = {}
        self._asked: dict[bytes, str] = {}
        self._asked_for_pictures: set[tuple[bytes, int]] = set()
        self._plan: Plan | None = None
        self._status_s = time.monotonic()
        self._was_away = False
        # signals belong to the page's server
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = node = Node("console", namespace=namespace.strip("/"))
        for camera in cameras:
            take = partial(self._take_picture, camera)
            node.create_subscription(Image, f"{camera}/image_raw", take, NEWEST)
            node.create_subscription(CompressedImage, f"{camera}/image_raw/compressed", take, NEWEST)
        node.create_subscription(Plan, "planner/plan", self._take_plan, LATCHED)
        node.create_subscription(Keyframe, "planner/keyframes", self._take_keyframe, ALL)
        node.create_subscription(PlanProgress, "planner/progress", self._take_progress, NEWEST)
        events = SubscriptionEventCallbacks(matched=self._node_matched)
        node.create_subscription(
            PlannerStatus, "planner/status", self._take_status, LATCHED, event_callbacks=events
        )
        self._action = ActionClient(node, PlanTask, "planner/plan_task")
        self._services = {
            name: node.create_client(kind, f"planner/{name}")
            for name, kind in (
                ("review_subgoal", ReviewSubgoal),
                ("get_plan", GetPlan),
                ("hold", SetBool),
                ("rearm", Trigger),
                ("plan_task/_action/cancel_goal", CancelGoal),
            )
        }
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name="console-ros", daemon=True)
        self._thread.start()

    def __enter__(self) -> "RosRobot":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what is seen -------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """See Robot."""
        with self._lock:
            self._change(trouble=self._trouble())
            return self._snapshot

    def frames(self) -> Views:
        """See Robot."""
        with self._lock:
            newest = dict(self._newest)
        shown = ((name, newest[name].picture()) for name in self._cameras if name in newest)
        return tuple((name, picture) for name, picture in shown if picture is not None)

    # -- what is done -------------------------------------------------------------------------

    def plan(self, sentence: str, operator: str) -> None:
        """See Robot."""
        now = self._snapshot
        if now.hold or now.is_busy:
            raise Refused("The robot is held. Re-arm it first." if now.hold else "A plan is in work.")
        if not sentence.strip():
            raise Refused("Say what the robot shall do.")
        if not self._action.server_is_ready():
            raise Refused("The planner node is not there.")
        goal = PlanTask.Goal(
            instruction=sentence.strip(), review_mode=PlanTask.Goal.REVIEW_EACH, closed_loop=True
        )
        sent = where_it_spins(self._executor, self._action.send_goal_async, goal)
        handle = self._wait(sent, "the planner node did not answer")
        if not handle.accepted:
            raise Refused("The planner node refuses: it is held or not active.")
        plan_id = bytes(handle.goal_id.uuid)
        with self._lock:
            self._asked[plan_id] = operator
            self._change(journal=())
            self._note(operator, f"asked: {goal.instruction}")
            if self._plan is not None:
                self._show(self._plan)
        result = where_it_spins(self._executor, handle.get_result_async)
        result.add_done_callback(partial(self._take_result, plan_id))

    def review(self, step: int, epoch: int, decision: Decision, text: str, operator: str) -> None:
        """See Robot."""
        plan = self._plan
        if plan is None:
            raise Refused("There is no plan.")
        plan_id = bytes(plan.plan_id.uuid)
        request = ReviewSubgoal.Request(
            plan_id=plan.plan_id,
            epoch=max(0, epoch),
            index=max(0, step),
            decision=_DECISIONS[decision],
            instruction=text,
            reviewer=operator,
        )
        answer = self._call("review_subgoal", request)
        with self._lock:
            if not answer.success:
                by, what = self._decided.get((plan_id, step, epoch), ("", ""))
                faster = f"{by} was faster ({what}). " if by else ""
                raise Refused(f"Not done: {faster}{answer.error_msg}.")
            self._decided[plan_id, step, epoch] = (operator, decision.value)
            if decision is Decision.EDIT:
                # an edit gives the step a later epoch
                self._decided[plan_id, step, answer.epoch] = (operator, decision.value)
            self._note(operator, said_of(decision, step, text))
            if self._plan is not None:
                self._show(self._plan)

    def stop(self, operator: str) -> None:
        """See Robot; ends the plan of any client."""
        plan = self._plan
        if plan is None or plan.state != Plan.STATE_GENERATING:
            raise Refused("There is no plan to stop.")
        request = CancelGoal.Request()
        request.goal_info.goal_id = plan.plan_id
        self._call("plan_task/_action/cancel_goal", request)
        self._note(operator, "stopped the plan")

    def hold(self, operator: str) -> None:
        """See Robot."""
        try:
            answer = self._call("hold", SetBool.Request(data=True))
        except Refused as error:
            raise Refused(f"HOLD WAS NOT CONFIRMED: {error} Use the robot's own stop button.") from error
        if not answer.success:
            raise Refused(f"HOLD WAS REFUSED: {answer.message}. Use the robot's own stop button.")
        with self._lock:
            self._change(hold="held from the page", held_by=operator)
            self._note(operator, "HOLD")

    def rearm(self, operator: str) -> None:
        """See Robot."""
        answer = self._call("rearm", Trigger.Request())
        if not answer.success:
            raise Refused(f"Not done: {answer.message}.")
        with self._lock:
            self._change(hold="", held_by="")
            self._note(operator, "re-armed the robot")

    def close(self) -> None:
        """See Robot."""
        if not self._thread.is_alive():
            return
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        rclpy.try_shutdown()

    # -- callbacks: the executor's thread -----------------------------------------------------

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _take_picture(self, camera: str, message: Image | CompressedImage) -> None:
        shot = _Shot(camera, message)
        with self._lock:
            self._newest[camera] = shot
            kept = self._pictures[camera]
            if not kept or shot.arrival_s - kept[-1].arrival_s >= _KEPT_PERIOD_S:
                kept.append(shot)

    def _take_plan(self, plan: Plan) -> None:
        with self._lock:
            if self._plan is None or bytes(self._plan.plan_id.uuid) != bytes(plan.plan_id.uuid):
                self._change(phase=None, words="", share=0.0, index=0, message="")
            self._plan = plan
            self._keep_observation(convert.time_to_s(plan.header.stamp))
            self._show(plan)
            self._fetch_pictures(plan)

    def _take_keyframe(self, message: Keyframe) -> None:
        frame = convert.compressed_to_frame(CompressedImage(data=message.image.data), "keyframe")
        views = views_of_keyframe(PlanKeyframe(frame.rgb, tuple(message.views)))
        with self._lock:
            self._keyframes[bytes(message.plan_id.uuid), message.index, message.epoch] = views
            if self._plan is not None:
                self._show(self._plan)

    def _take_progress(self, now: PlanProgress) -> None:
        with self._lock:
            plan = self._plan
            if plan is None or plan.plan_id != now.plan_id or plan.state != Plan.STATE_GENERATING:
                return
            self._change(
                phase=_PHASES.get(now.phase),
                index=now.current_index,
                words=now.partial_text,
                share=round(now.keyframe_progress, 3),
                queue_position=now.queue_position,
            )

    def _node_matched(self, status: Any) -> None:
        with self._lock:
            self._was_away |= status.current_count == 0

    def _take_status(self, status: PlannerStatus) -> None:
        with self._lock:
            self._status_s = time.monotonic()
            if self._was_away:
                self._was_away = not self._ask_for_plan()
            held_by = self._snapshot.held_by if self._snapshot.hold else status.hold_reason
            reason = (status.hold_reason or "held") if status.hold else ""
            self._change(
                hold=reason,
                held_by=held_by if status.hold else "",
                planner=f"plans: the service of the planner node ({_LINKS.get(status.link, '?')})",
            )

    def _take_result(self, plan_id: bytes, future: Any) -> None:
        result: PlanTask.Result = future.result().result
        with self._lock:
            if self._plan is not None and bytes(self._plan.plan_id.uuid) == plan_id:
                self._change(message=result.error_msg)

    def _ask_for_plan(self) -> bool:
        """A planner node that came back may know nothing of the plan; False: it cannot be asked yet."""
        client = self._services["get_plan"]
        if not client.service_is_ready():
            return False

        def take(future: Any) -> None:
            answer = future.result()
            with self._lock:
                plan = self._plan
                if plan is None or plan.state != Plan.STATE_GENERATING:
                    return
                if not answer.success or answer.plan.plan_id != plan.plan_id:
                    plan.state = Plan.STATE_FAILED
                    self._change(message="the planner node was started anew and knows nothing of it")
                    self._show(plan)

        client.call_async(GetPlan.Request()).add_done_callback(take)
        return True

    # -- inside -------------------------------------------------------------------------------

    def _show(self, plan: Plan) -> None:
        plan_id = bytes(plan.plan_id.uuid)
        ending = _ENDINGS.get(plan.state)
        self._change(
            plan_id=plan_id.hex(),
            task=plan.instruction,
            asked_by=self._asked.get(plan_id, "another client"),
            epoch=plan.epoch,
            steps=tuple(self._step(plan_id, subgoal) for subgoal in plan.subgoals),
            ending=ending,
        )
        if ending is not None:
            self._change(phase=None, words="", share=0.0)

    def _step(self, plan_id: bytes, subgoal: Subgoal) -> StepView:
        key = (plan_id, subgoal.index, subgoal.epoch)
        by, decision = "", ""
        if subgoal.state != Subgoal.STATE_PENDING_REVIEW:
            by, decision = self._decided.get(key) or _latest(self._decided, key) or ("", "")
        return StepView(
            subgoal.index,
            subgoal.epoch,
            subgoal.instruction,
            _STATES.get(subgoal.state, StepState.EXPIRED),
            subgoal.original_instruction,
            subgoal.outcome_detail,
            by,
            decision,
            None if subgoal.confidence != subgoal.confidence else round(subgoal.confidence, 4),
            self._observed.get(convert.time_to_s(subgoal.header.stamp), ()),
            self._keyframes.get(key) or _latest(self._keyframes, key) or (),
        )

    def _keep_observation(self, stamp_s: float) -> None:
        """Keep what the cameras showed then, as long as it is there: a plan may take minutes."""
        if not stamp_s or stamp_s in self._observed:
            return
        views = []
        for camera in self._cameras:
            distances = [(abs(shot.stamp_s - stamp_s), shot) for shot in self._pictures[camera]]
            distance_s, nearest = min(distances, key=lambda pair: pair[0], default=(_NEAR_S, None))
            picture = nearest.picture() if nearest is not None and distance_s < _NEAR_S else None
            if picture is not None:
                views.append((camera, picture))
        self._observed[stamp_s] = tuple(views)
        while len(self._observed) > _KEPT_OBSERVATIONS:
            self._observed.pop(next(iter(self._observed)))

    def _fetch_pictures(self, plan: Plan) -> None:
        """Ask for keyframes that were published before this page was there."""
        plan_id = bytes(plan.plan_id.uuid)
        missing = any(
            subgoal.has_keyframe and not _latest(self._keyframes, (plan_id, subgoal.index, subgoal.epoch))
            for subgoal in plan.subgoals
        )
        client = self._services["get_plan"]
        if not missing or (plan_id, plan.epoch) in self._asked_for_pictures or not client.service_is_ready():
            return
        self._asked_for_pictures.add((plan_id, plan.epoch))

        def take(future: Any) -> None:
            for keyframe in future.result().keyframes:
                self._take_keyframe(keyframe)

        client.call_async(GetPlan.Request(include_keyframes=True)).add_done_callback(take)

    def _trouble(self) -> str:
        now_s = time.monotonic()
        if now_s - self._status_s > _SILENCE_S:
            return f"the planner node has been silent for {now_s - self._status_s:.0f} s"
        blind = [
            name
            for name in self._cameras
            if name not in self._newest or now_s - self._newest[name].arrival_s > _SILENCE_S
        ]
        return f"no picture from camera {', '.join(blind)}" if blind else ""

    def _change(self, **fields: object) -> None:
        with self._lock:
            if any(getattr(self._snapshot, name) != value for name, value in fields.items()):
                self._snapshot = replace(self._snapshot, **fields)  # type: ignore[arg-type]

    def _note(self, who: str, what: str) -> None:
        with self._lock:
            note = Note(time.time(), who, what)
            self._change(journal=(*self._snapshot.journal, note)[-_LONGEST_JOURNAL:])

    def _call(self, name: str, request: Any) -> Any:
        """A service's answer. Refused: it is not there, or does not answer."""
        client = self._services[name]
        if not client.service_is_ready():
            raise Refused("The planner node is not there.")
        future = client.call_async(request)
        try:
            return self._wait(future, "the planner node did not answer")
        except Refused:
            client.remove_pending_request(future)
            raise

    def _wait(self, future: Any, complaint: str) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(_ANSWER_S):
            raise Refused(f"{complaint} within {_ANSWER_S:g} s.")
        return future.result()


class _Shot:
    """One picture of a camera, encoded when it is wanted."""

    def __init__(self, camera: str, message: Image | CompressedImage) -> None:
        self._camera, self._message = camera, message
        self.arrival_s = time.monotonic()
        self.stamp_s = convert.time_to_s(message.header.stamp)
        self._encoded: Picture | None = None

    def picture(self) -> Picture | None:
        """Encoded; None when the camera sends what is no picture."""
        if self._encoded is None:
            to_frame: Callable[[Any, str], Any] = (
                convert.image_to_frame if isinstance(self._message, Image) else convert.compressed_to_frame
            )
            try:
                self._encoded = encode_jpeg(to_frame(self._message, self._camera).rgb)
            except ValueError:
                return None
        return self._encoded


def _latest(kept: dict[tuple[bytes, int, int], Any], key: tuple[bytes, int, int]) -> Any:
    """What is kept of a step under its latest epoch up to this one; None: nothing."""
    plan_id, index, epoch = key
    epochs = [e for p, i, e in kept if p == plan_id and i == index and e <= epoch]
    return kept[plan_id, index, max(epochs)] if epochs else None
